"""How long, and for how many messages, a sender waits."""

WAIT_S = 60.0
"""How long a broker may be away before sending gives up."""

ANSWER_S = 10.0
"""How long a question to a broker may take, the first one above all."""

MOST_MESSAGES = 200_000
"""That are under way; more wait."""
