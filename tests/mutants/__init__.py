"""Seeded mistakes in the protocol and the collector, each with the test that must catch it"""
