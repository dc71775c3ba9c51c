"""The verbs: plan, then run"""
