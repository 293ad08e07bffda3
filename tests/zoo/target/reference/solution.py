def nearest(points, queries):
    return [
        min(range(len(points)), key=lambda n: (x - points[n][0]) ** 2 + (y - points[n][1]) ** 2) for x, y in queries
    ]
