"""The whole way under torment: writers, relays, Kafka, consumers, and handlers that publish again."""
