"""How fast is this package beside other outboxes for Django, each in a project and a database of its own?"""
