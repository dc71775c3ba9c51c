"""What files say of themselves: parents and licence in cards, recipes, adapter configs, headers"""
