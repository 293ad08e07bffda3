"""The nearest point to each query, by looking at every one."""


def nearest(points, queries):
    found = []
    for x, y in queries:
        best, where = None, -1
        for number, (u, v) in enumerate(points):
            distance = (x - u) ** 2 + (y - v) ** 2
            if best is None or distance < best:
                best, where = distance, number
        found.append(where)
    return found
