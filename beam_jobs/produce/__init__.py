"""A historical log into Kafka: at a chosen pace, with faults on request, and a record of them."""
