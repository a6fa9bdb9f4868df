"""Faults, one after the other, under a steady load: how fast is it before, during and after, and what is lost?"""
