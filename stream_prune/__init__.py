"""stream_prune keeps a recommender small while it trains on a stream."""
