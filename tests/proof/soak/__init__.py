"""An hour of load: does anything grow that must not?"""
