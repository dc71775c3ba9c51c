"""The command `artstore`"""
