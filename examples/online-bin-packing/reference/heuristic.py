"""Best fit: the bin that the item leaves least room in."""


def priority(item, remaining):
    return item - remaining
