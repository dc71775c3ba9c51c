"""Integrations: trainers of other libraries save to a store and go on from it"""
