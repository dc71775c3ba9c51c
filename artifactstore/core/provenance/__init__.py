"""Parents and licence as files say them themselves: model cards, merge recipes, adapter configs, headers of weights"""
