"""How fast does what is written reach Kafka: a backlog, a single event, a schedule?"""
