"""Dcp: the storage of torch.distributed.checkpoint on a store"""
