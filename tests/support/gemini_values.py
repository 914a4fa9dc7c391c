"""Values with the names of Gemini's messages in them, whatever stands where."""

from hypothesis import strategies as st

VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(("", "c1", "model")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            (
                "serverContent", "toolCall", "functionCalls", "modelTurn", "parts", "text", "id",
                "turnComplete", "interrupted", "goAway", "setupComplete", "turns", "args", "name",
                "sessionResumptionUpdate", "newHandle", "resumable", "ids", "toolCallCancellation",
                "clientContent", "setup", "realtimeInput", "systemInstruction",
                "generationConfig", "speechConfig", "toolResponse", "functionResponses",
                "session_resumption", "tools", "contextUpdate", "response", "usageMetadata",
            )
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
