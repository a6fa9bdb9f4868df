"""How fast is what Kafka has handled: by plain handlers, by handlers that wait, by sagas?"""
