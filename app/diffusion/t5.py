def encode_with_t5(c, t):
    raise NotImplementedError
