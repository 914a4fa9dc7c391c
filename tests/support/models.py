"""Models as an operator names and allows them, for tests of the door."""

from gateway.door.allowed_models import ModelRoute, ModelTable

TABLE = ModelTable(
    {
        "acme": ModelRoute("xai", "grok voice/1"),
        "ours": ModelRoute("azure", "ours"),
        "renamed": ModelRoute("azure", "dep-1"),
    },
    {"*": ("gpt-*", "acme"), "rich": ("*",), "poor": ()},
)
