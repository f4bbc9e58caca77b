"""Training on a mini-batch log: score, then learn once labels are known, then adapt."""
