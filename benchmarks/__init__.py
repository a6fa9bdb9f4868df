"""How fast is this package, measured against loops that were written by hand for the same rows and servers?"""
