"""Why a frame that was captured is in no pair that a consumer got: the names, and what each means."""

from __future__ import annotations

PRODUCER_DROPPED = "producer_dropped"
BEFORE_COMBINER = "before_combiner"
TRANSPORT = "transport"
CORRUPT = "corrupt"
RIVAL = "rival"
COMBINER_OVERFLOW = "combiner_overflow"
FUTURE = "future"
STARTUP = "startup"
REMOVED = "removed"
FRAGMENTED = "fragmented"
COMBINER_LOST = "combiner_lost"
PUBLISHER_OVERFLOW = "publisher_overflow"
SUBSCRIBER_SLOW = "subscriber_slow"
NO_SUBSCRIBER = "no_subscriber"
TOO_LARGE = "too_large"
UNSEEN = "unseen"
RECORDER_SLOW = "recorder_slow"
RECORDER_DISK = "recorder_disk"
RECORDER_AWAY = "recorder_away"

MEANINGS = {
    PRODUCER_DROPPED: "its producer could not send it, or not decode it",
    BEFORE_COMBINER: "sent when no combiner was there to take it",
    TRANSPORT: "lost between producer and combiner",
    RIVAL: "refused, as another producer sent as its source",
    CORRUPT: "not what its header says",
    COMBINER_OVERFLOW: "the combiner was too busy to take it",
    FUTURE: "stamped later than it can have been captured",
    STARTUP: "captured before the first pair of its source, or before the first that this consumer took",
    REMOVED: "captured after its source was removed",
    FRAGMENTED: "the header of its pair had no room for it",
    COMBINER_LOST: "the combiner ended before it announced its pair, or had just been started again",
    PUBLISHER_OVERFLOW: "lost on its way to this consumer, as that or a relay did not receive",
    SUBSCRIBER_SLOW: "this consumer was busy with an earlier pair",
    NO_SUBSCRIBER: "in a pair of before this consumer had subscribed",
    TOO_LARGE: "its window has more bytes than this consumer keeps of a source",
    UNSEEN: "in shared memory that this consumer cannot see",
    RECORDER_SLOW: "the recorder's disk or processors were too slow for it",
    RECORDER_DISK: "the recorder's disk was full or gone",
    RECORDER_AWAY: "no recorder ran, or it was killed before it had written it",
}
