"""Models where they are needed: brought into the store, each as one version, then out to their folders"""
