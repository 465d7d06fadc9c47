"""Which object a caption's mention means."""


def match(mentions, objects):
    """For each mention the indices of its objects and whether colour and shape are right.

    A mention means all objects of its colour and shape. One without any means the
    first group of objects that nobody else claims and that share its colour or its
    shape; failing that, nothing.
    """
    exact = [[i for i, o in enumerate(objects) if o.pair == m.pair] for m in mentions]
    claimed = {i for found in exact for i in found}
    result = []
    for m, found in zip(mentions, exact):
        right = bool(found)
        if not right:
            near = [i for i, o in enumerate(objects)
                    if i not in claimed and (o.colour == m.colour or o.shape == m.shape)]
            found = [i for i in near if objects[i].pair == objects[near[0]].pair]
            claimed.update(found)
        result.append((found, right))
    return result
