def source(graph, language="numpy"): raise NotImplementedError
