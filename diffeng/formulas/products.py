"""Sums of products as mathematics writes them: A' B for the einsum ij,ik->jk, x y' for i,j->ij, and index notation for the rest.

What it is: the part of `Terms` (terms.py) that makes terms of contractions.
What it is not: useful alone: it calls the other constructors of Terms.

Why a file: recognising a product is a subject of its own.
"""
from ..vocabulary import contraction


class Products:
    def product(self, a, b, shape):
        """A B; signs and leading numbers step in front."""
        if a.op == "neg" or b.op == "neg":
            out = self.product(a.args[0] if a.op == "neg" else a, b.args[0] if b.op == "neg" else b, shape)
            return out if a.op == b.op else self._negative(out)
        for p, other in ((a, b), (b, a)):
            if p.op in ("mul", "div"):
                factor, rest = (p.args[0], p.args[1]) if p.op == "mul" else (p.args[1], p.args[0])
                if factor.scalar and rest.shape == p.shape:
                    inner = self.product(rest, other, shape) if p is a else self.product(other, rest, shape)
                    return self._multiply(factor, inner) if p.op == "mul" else self._divide(inner, factor)
        return self.make("matmul", (a, b), None, shape)

    def of_matrix(self, name, args, shape, params):
        """solve(A, B) is A^-1 B, cofactor(A) is det(A) A'^-1, slogdet(A) is log|det(A)|."""
        a = args[0]
        if name in ("inv", "solve", "cofactor"):
            inverse = a.args[0] if a.op == "inverse" else self.make("inverse_T", a.args) if a.op == "T" else self.make("inverse", (a,))
        if name == "solve":
            stack = "".join(chr(ord("a") + k) for k in range(len(shape) - 2))
            return self._contract([inverse, args[1]], [stack + "xy", stack + "yz"], stack + "xz", shape)
        if name == "inv":
            return inverse
        det = self.call("det", (a,), a.shape[:-2])
        if name == "cofactor":
            return self.map("multiply", [det if not det.shape else self.reshape(det, (*det.shape, 1, 1)), self.transposed(inverse)])
        return {"det": lambda: det, "slogdet": lambda: self.map("log", [self.map("absolute", [det])]),
                "slogdet_sign": lambda: self.map("sign", [det])}.get(name, lambda: self.call(name, args, shape, params))()

    def contraction(self, name, args, params, shape):
        subscripts = contraction.subscripts(name, [len(a.shape) for a in args], params)
        left, out = subscripts.split("->")
        terms = left.split(",")
        return self._contract(list(args), terms, out, tuple(shape))

    def _contract(self, args, terms, out, shape):
        args, terms, kept = self._thinned(args, terms, out)
        if kept != out:                                     # axes of length 1 that only hold a place
            inner = tuple(n for n, c in zip(shape, out) if c in kept)
            return self.reshape(self._contract(args, terms, kept, inner), shape)
        scale, merged = None, {}
        for a, t in zip(args, terms):                      # scalars step in front, equal indices are elementwise products
            if t == "" and len(args) > 1:
                scale = a if scale is None else self.map("multiply", [scale, a])
            elif t in merged and not (len(args) == 2 and len(t) == 1 and out == ""):
                merged[t] = self.map("multiply", [merged[t], a])
            elif t in merged:
                return self.product(self.transposed(merged[t]), a, ())
            else:
                merged[t] = a
        terms, args = list(merged), list(merged.values())
        done = self._simple(args, terms, out, shape) if args else None
        if not args:
            return scale
        if done is None:
            spec = f"{','.join(terms)}->{out}"
            done = self.make("einsum", args, spec, shape)
        return done if scale is None else self.map("multiply", [scale, done])

    def _thinned(self, args, terms, out):
        """Without the axes that a reshape put in: a column in a product is its vector."""
        loose = []
        for a, t in zip(args, terms):
            if len(a.shape) != len(t):                              # a scalar whose axes of length 1 are gone already
                loose.append(set(t))
            elif a.op == "reshape" and tuple(n for n in a.shape if n != 1) == a.args[0].shape:
                loose.append({c for c, n in zip(t, a.shape) if n == 1})
            else:
                loose.append(set())
        stuck = {c for a, t, free in zip(args, terms, loose) for c, n in zip(t, a.shape) if len(a.shape) == len(t) and c not in free and n == 1}
        drop = [free - stuck for free in loose]
        args = [self._without(a, t, free, d) for a, t, free, d in zip(args, terms, loose, drop)]
        terms = ["".join(c for c in t if c not in d) for t, d in zip(terms, drop)]
        left = set("".join(terms))
        return args, terms, "".join(c for c in out if c in left)

    def _without(self, a, t, free, dropped):
        if not dropped or len(a.shape) != len(t):
            return a
        return a.args[0] if dropped == free else self.reshape(a, tuple(n for c, n in zip(t, a.shape) if c not in dropped))

    def _simple(self, args, terms, out, shape):
        """A product of one or two operands as mathematics writes it, or None."""
        if len(args) == 1:
            (a,), (t,) = args, terms
            if t == out:
                return a
            if len(set(t)) == len(t) and len(t) >= 2 and t[:-2] + t[:-3:-1] == out:
                return self.transposed(a)
            if len(set(t)) == len(t) and set(out) <= set(t) and [c for c in t if c in out] == list(out):
                return self.make("sum", (a,), (tuple(k for k, c in enumerate(t) if c not in out), len(t)), shape)
            if len(t) == 2 and t[0] == t[1] and out == "":
                return self.call("tr", (a,), ())
            return None
        if len(args) != 2:
            return None
        (a, b), (s, t) = args, terms
        lead = 0
        while lead < min(len(s), len(t), len(out)) and s[lead] == t[lead] == out[lead]:
            lead += 1
        s, t, o = s[lead:], t[lead:], out[lead:]
        common = set(s) & set(t)
        if lead and (len(s) < 2 or len(t) < 2 or len(o) < 2) or len(set(s)) < len(s) or len(set(t)) < len(t):
            return None
        if len(common) == 1 and not common & set(o) and len(s) <= 2 and len(t) <= 2:
            c = next(iter(common))
            swap = len(o) == 2 and o[0] in t or len(s) == 1 and len(t) == 2        # X' first: a vector stands to the right of its matrix
            if swap:
                a, b, s, t = b, a, t, s
            left = self.transposed(a) if s[0] == c else a           # a column becomes a row; (c, i) becomes (i, c)
            right = self.transposed(b) if len(t) == 2 and t[1] == c else b
            return self.product(left, right, shape)
        if not common and len(s) == len(t) == 1 and sorted(o) == sorted(s + t):
            return self.product(a, self.transposed(b), shape) if o == s + t else self.product(b, self.transposed(a), shape)
        if common and not lead and set(o) <= set(s) | set(t) and (s == o and s.endswith(t) or t == o and t.endswith(s)):
            return self.map("multiply", [a, b])
        if s == t and not o and not lead:
            return self.make("sum", (self.map("multiply", [a, b]),), (tuple(range(len(s))), len(s)), shape)
        return None
