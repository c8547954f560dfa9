Settings = dict
