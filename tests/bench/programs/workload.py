"""What an interpreter is used for: objects, dictionaries, strings, patterns, sorting, long integers."""
import json
import re


class Account:
    def __init__(self, name):
        self.name, self.balance, self.log = name, 0, []

    def pay(self, amount):
        self.balance += amount
        self.log.append((self.balance, amount))


def rnd(state=12345):
    while True:
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        yield state >> 8


def accounts(source):
    book = {}
    for _ in range(60000):
        name = "customer-%03d" % (next(source) % 500)
        book.setdefault(name, Account(name)).pay(next(source) % 2000 - 1000)
    ranked = sorted(book.values(), key=lambda a: (-a.balance, a.name))
    text = json.dumps([{"name": a.name, "balance": a.balance, "log": a.log[:20]} for a in ranked])
    return sum(len(a["log"]) + a["balance"] for a in json.loads(text)), len(text)


def words(source):
    text = " ".join("".join(chr(97 + next(source) % 7) for _ in range(1 + next(source) % 4))
                    for _ in range(20000))
    count = {}
    for word in re.findall(r"\b[a-g]+\b", text):
        count[word] = count.get(word, 0) + 1
    swapped = re.sub(r"([a-c]+)([d-g]+)", r"\2\1", text)
    return sorted(count.items(), key=lambda e: (-e[1], e[0]))[:5], hash_of(swapped)


def hash_of(text):
    value = 0
    for byte in text.encode():
        value = (value * 31 + byte) & 0xFFFFFFFF
    return value


def pi_digits(count):
    """Gosper's series by continued multiplication of long integers."""
    q, r, t, k, n, x, digits = 1, 0, 1, 1, 3, 3, []
    while len(digits) < count:
        if 4 * q + r - t < n * t:
            digits.append(n)
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, x = (q * k, (2 * q + r) * x, t * x, k + 1,
                                (q * (7 * k + 2) + r * x) // (t * x), x + 2)
    return "".join(map(str, digits))


source = rnd()
print(accounts(source), words(source), pi_digits(700))
