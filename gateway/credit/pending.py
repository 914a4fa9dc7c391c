"""Usage of one account that is in messages and in no balance yet. Pure.

A message is *pending* from when it is sealed until a balance or a watermark covers it. Then its
amount is in the balance, or it is *durable*: accountd has committed it, although no balance has
included it.

A balance names the messages that it includes, as far as this boot of accountd has announced them.
What an earlier boot had applied, or what was applied while announcements were lost, it includes
without naming it. So everything that is pending when a balance arrives is *perhaps included* in it.
Three messages, of 10, 20 and 40, and two balances:

================================  =======  =======  ====  ================
what happens                      pending  durable  nano  perhaps included
================================  =======  =======  ====  ================
the messages are sealed                70        0    70                 0
a balance names the first              60        0    60                60
a watermark covers the second          40       20    60                60
a balance names the first two          40        0    40                40
================================  =======  =======  ====  ================

Where the first of these balances is also the first of a boot of accountd, it includes the second
message, as that is durable: the watermark leaves 40, 0, 40 and 40.

Amounts are nano-credits (``shared.rates``). Used by ``credit`` alone.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from shared.announcements import Applied


class PendingUsage:
    """The messages of one account that wait for a balance, by producer and sequence."""

    __slots__ = ("_by_producer", "_durable", "_perhaps_through", "_sent", "perhaps_included")

    def __init__(self) -> None:
        self._sent = 0  # in messages that are pending
        self._durable = 0
        self.perhaps_included = 0  # of ``nano``, what the balance may include already
        self._by_producer: dict[bytes, OrderedDict[int, int]] = {}  # sequences ascend
        self._perhaps_through: dict[bytes, int] = {}  # the highest such sequences

    def __bool__(self) -> bool:
        """Whether any message is pending."""
        return bool(self._by_producer)

    @property
    def nano(self) -> int:
        """What the balance does not include, pending or durable."""
        return self._sent + self._durable

    def has_producer(self, producer: bytes) -> bool:
        """Whether any message of the producer is pending."""
        return producer in self._by_producer

    def add(self, nano: int, producer: bytes, sequence: int) -> None:
        """A message was sealed, which holds so much; sequences of a producer ascend."""
        self._sent += nano
        self._by_producer.setdefault(producer, OrderedDict())[sequence] = nano

    def acknowledge(self, producer: bytes, through: int, *, is_new_boot: bool) -> bool:
        """Messages of the producer up to ``through`` are durable; whether any were pending.

        They stay subtracted until the next balance. Those that the last one perhaps includes stay
        so (the third row of the table above): a watermark does not say whether they were applied
        before that balance or after it. ``is_new_boot``: the balance is the first of a boot of
        accountd. It includes all that the boot before had applied, and so what was pending when
        it came and is durable now: that is subtracted no more.
        """
        sent, perhaps_included = self._sent, self.perhaps_included
        if not self._remove(producer, through):
            return False
        self._durable += sent - self._sent
        if is_new_boot:
            self._durable -= perhaps_included - self.perhaps_included
        else:
            self.perhaps_included = perhaps_included
        return True

    def include(self, applied_by_producer: Mapping[bytes, Applied]) -> None:
        """A new balance: it includes what it names and all that was durable before, and perhaps
        what is still pending (the second and the fourth row of the table above).
        """
        self._durable = 0
        for producer, applied in applied_by_producer.items():
            self._remove(producer, applied.through, applied.ahead)
        self.perhaps_included = self._sent
        self._perhaps_through = {p: next(reversed(held)) for p, held in self._by_producer.items()}

    # --- helpers ----------------------------------------------------------------------------------

    def _remove(self, producer: bytes, through: int, ahead: Collection[int] = ()) -> bool:
        """Remove messages up to ``through``, and those in ``ahead``; whether there were any.

        It costs nothing for what stays pending: after an outage that can be 100,000 messages.
        """
        held = self._by_producer.get(producer)
        if held is None:
            return False
        before = len(held)
        while held and (sequence := next(iter(held))) <= through:
            self._subtract(producer, sequence, held.pop(sequence))
        for sequence in held.keys() & ahead if ahead else ():
            self._subtract(producer, sequence, held.pop(sequence))
        if not held:
            del self._by_producer[producer]
        return len(held) < before

    def _subtract(self, producer: bytes, sequence: int, nano: int) -> None:
        self._sent -= nano
        if sequence <= self._perhaps_through.get(producer, 0):
            self.perhaps_included -= nano
