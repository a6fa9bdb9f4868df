"""What does writing cost: the publish itself, and the waking of the relay that follows it?"""
