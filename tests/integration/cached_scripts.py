# SPDX-License-Identifier: BSD-2-Clause
"""Commands that are sent to spillway-cached and to memcached alike.

Usage: from cached_scripts import SCRIPTS: {name: [bytes sent at once, ...]}
Answers are compared byte by byte but for cas numbers and versions, and each
script is sent as a whole, so that errors must eat the same bytes of it.
"""

A = b"set a 5 0 3\r\nabc\r\n"
LONG = b"k" * 251
KEY = b"k" * 250
BIG = b"x" * 2000000

SCRIPTS = {
    "set, get and gets, several keys": [
        A + b"get a\r\nget nope\r\nget a nope a\r\ngets a nope\r\n",
        b"set e 0 0 0\r\n\r\nget e\r\ngets e e\r\n",
        b"set bin 7 0 9\r\n\0\r\n\xff a\r\n\r\nget bin\r\n",
        b"set " + KEY + b" 0 0 1\r\na\r\nget " + KEY + b"\r\n",
        b"get " + b"a nope " * 2000 + b"\r\nmn\r\n",
        b"get a" + b" " * 600 + b"a \r\n", b"  get a\r\n", b"get a\n",
        b"get a\0b c\r\nversion\r\n",
    ],
    "add, replace, append, prepend": [
        b"delete s\r\nreplace s 0 0 1\r\nx\r\nappend s 0 0 1\r\nx\r\n"
        b"prepend s 0 0 1\r\nx\r\nadd s 3 0 1\r\nx\r\nadd s 4 0 1\r\ny\r\n"
        b"append s 9 9 2\r\nyz\r\nprepend s 9 9 1\r\nw\r\nget s\r\n"
        b"replace s 8 0 2\r\nrr\r\nget s\r\n",
        b"set big 0 0 1048000\r\n" + b"x" * 1048000 + b"\r\n"
        b"append big 0 0 1000\r\n" + b"y" * 1000 + b"\r\n"
        b"prepend big 0 0 100000\r\n" + b"y" * 100000 + b"\r\nversion\r\n",
        b"set mid 1 0 40000\r\n" + b"x" * 40000 + b"\r\n"
        b"append mid 0 0 50000\r\n" + b"y" * 50000 + b"\r\nget mid\r\n"
        b"prepend mid 0 0 3\r\nabc\r\nget mid\r\n",
    ],
    "cas": [
        A + b"cas a 0 0 1\r\nx\r\ncas a 0 0 1 x\r\nx\r\ncas zz 0 0 1 1\r\nx"
        b"\r\ncas a 0 0 1 0\r\nx\r\ncas a 0 0 1 18446744073709551615\r\nx\r\n"
        b"get a\r\ncas a 0 0 1 7 noreply\r\nx\r\nget a\r\n",
    ],
    "delete": [
        A + b"delete a\r\ndelete a\r\nget a\r\ndelete a 0\r\ndelete a 1\r\n"
        b"delete a noreply\r\ndelete a 0 noreply\r\ndelete a b c\r\n"
        b"delete a b c d\r\ndelete\r\ndelete " + LONG + b"\r\nversion\r\n",
    ],
    "incr and decr": [
        b"set n 0 0 2\r\n10\r\ndecr n 1\r\nget n\r\nincr n 1\r\nget n\r\n"
        b"incr n 100\r\nget n\r\ndecr n 1000\r\nget n\r\n",
        b"set n 0 0 0\r\n\r\nincr n 1\r\nset n 0 0 5\r\n12 34\r\nincr n 1\r\n"
        b"get n\r\nset n 3 0 3\r\n-12\r\nincr n 1\r\n"
        b"set n 0 0 20\r\n18446744073709551615\r\nincr n 2\r\nget n\r\n",
        b"set n 0 0 20\r\n18446744073709551616\r\nincr n 2\r\nget n\r\n"
        b"incr n -1\r\nincr n a\r\nincr zz 1\r\ndecr zz 1\r\nincr n\r\n"
        b"incr n 1 2 3\r\nincr " + LONG + b" 1\r\n",
        b"set n 9 0 1\r\n5\r\nincr n 3 noreply\r\nget n\r\n"
        b"incr n 18446744073709551616\r\nincr n +1\r\nget n\r\n",
    ],
    "touch and gat": [
        A + b"touch a\r\ntouch a x\r\ntouch zz 1\r\ntouch a 100\r\ntouch a 0 "
        b"noreply\r\ngat 100 a\r\ngats 0 a nope\r\ngat x a\r\ngat 10\r\n"
        b"gat -1 a\r\nget a\r\ntouch " + LONG + b" 0\r\n",
    ],
    "expiry in the past": [
        b"set p 0 -1 1\r\nx\r\nget p\r\nadd p 0 -5 1\r\nx\r\nget p\r\n"
        b"add p 0 100 1\r\nx\r\ntouch p -1\r\nget p\r\n"
        b"set p 0 1000000000 1\r\nx\r\nget p\r\nincr p 1\r\n"
        b"set q 0 -1 40000\r\n" + b"x" * 40000 + b"\r\nget q\r\n",
    ],
    "flush_all": [
        A + b"flush_all\r\nget a\r\n" + A + b"flush_all noreply\r\nget a\r\n"
        b"flush_all x\r\nflush_all 0 noreply\r\nflush_all 0\r\n"
        b"flush_all 1 2 3\r\n" + A + b"get a\r\n",
    ],
    "noreply": [
        b"set r 0 0 1 noreply\r\nx\r\nadd r 0 0 1 noreply\r\ny\r\n"
        b"append r 0 0 1 noreply\r\nz\r\nget r\r\nset r 0 0 1 foo\r\nx\r\n"
        b"set r 0 0 1 noreply x\r\ny\r\nset r 0 0 a noreply\r\nversion\r\n"
        b"touch r 0 noreply\r\ndelete r noreply\r\nget r\r\n"
        b"incr r 1 noreply\r\nverbosity 0 noreply\r\nmn\r\n",
    ],
    "bad data chunks": [
        b"set c 0 0 5\r\nabcdefghij\r\nversion\r\n",
        b"set c 0 0 5\r\nabc\r\nversion\r\n",
        b"set c 0 0 5 noreply\r\nabcdefghij\r\nversion\r\n",
        b"set c 0 0 1\r\nx\nversion\r\nversion\r\n",
        b"set c 0 0 40000\r\n" + b"x" * 40001 + b"\r\nversion\r\n",
        b"ms c 2\r\nhixx\r\nversion\r\nms c 2 q\r\nhixx\r\nversion\r\n",
        b"get c\r\n",
    ],
    "sizes and numbers that are wrong": [
        b"set f 0 0 -5\r\nversion\r\n",
        b"set f 0 0 2000000\r\n" + BIG + b"\r\nversion\r\nget f\r\n",
        b"set f 0 0 2000000 noreply\r\n" + BIG + b"\r\nversion\r\n",
        b"set f 0 0 1\r\na\r\nset f 0 0 2000000\r\n" + BIG + b"\r\nget f\r\n",
        b"add f 0 0 1\r\na\r\nadd f 0 0 2000000\r\n" + BIG + b"\r\nget f\r\n",
        b"set f 4294967296 0 1\r\na\r\nget f\r\n",
        b"set f 4294967295 0 1\r\na\r\nget f\r\n",
        b"set f -1 0 1\r\na\r\nget f\r\n", b"set f 1a 0 1\r\na\r\nget f\r\n",
        b"set f +1 0 1\r\na\r\nget f\r\n", b"set f 0 x 1\r\na\r\nget f\r\n",
        b"set " + LONG + b" 0 0 1\r\na\r\nversion\r\n",
        b"get " + LONG + b"\r\nversion\r\n",
        b"get a " + LONG + b" a\r\nversion\r\n",
    ],
    "the largest item that fits, and one byte more": [
        b"set m 0 0 %d\r\n" % n + b"x" * n + b"\r\nmn\r\n"
        for n in (1048576 - 59 - 1, 1048576 - 59)
    ] + [b"get m\r\n"],
    "lines that are no commands": [
        b"get\r\n", b"get \r\n", b"\r\n", b"\n", b" \r\n", b"a\n", b"ab\n",
        b"GET a\r\n", b"gett a\r\n", b"set\r\nset a\r\nset a 0 0\r\n",
        b"x" * 2047 + b"\r\nversion\r\n", b"x" * 2500,
        b"touch a\r\nverbosity\r\nverbosity a\r\nverbosity 0\r\n",
        b"shutdown\r\nstats foo\r\nquit\r\nversion\r\n", b"mgx\r\nm\r\nmq\r\n",
        b"\xff\xfe\r\n\0\0\r\nversion\r\n",
    ],
    "mg": [
        A + b"mg a\r\nmg a v\r\nmg a v k f s t O123 q\r\nmg a s v t f\r\n",
        b"mg nope\r\nmg nope k Oabc\r\nmg nope q\r\nmg nope v k q Oa\r\nmn\r\n",
        A + b"mg a h l t\r\nmg a h l t\r\nget a\r\nmg a h\r\n",
        A + b"mg a u\r\nmg a h u\r\nmg a h\r\nmg a h\r\n",
        A + b"mg a v v\r\nmg a !\r\nmg a y\r\nmg a Tx\r\nmg a Nx\r\nmg a Rx"
        b"\r\nmg a Fx\r\nmg a Cx\r\nmg a M\r\nmg a J D\r\nmg a E\r\n",
        A + b"mg a O" + b"x" * 31 + b"\r\nmg a O" + b"x" * 32 + b"\r\n"
        b"mg a k O" + b"x" * 40 + b" q\r\n mn\r\n",
        b"mg " + LONG + b" v\r\nmg\r\nmg \r\n",
        b"mg a v k f s t c q u h l Oa b P L N1 R1 T1 F1 C1\r\n",
        b"set m 0 0 1\r\na\r\nmg m v q\r\nmn\r\nversion\r\nmg no v q\r\nmn\r\n",
        b"set l 0 0 40000\r\n" + b"x" * 40000 + b"\r\nmg l v s\r\nmg l s\r\n"
        b"mg l v T100 t\r\n",
    ],
    "mg that renews": [
        b"md viv q\r\nmg viv N30 v t k\r\nmg viv N30 v t\r\nmg viv v t\r\n"
        b"ms viv 2\r\nhi\r\nmg viv v t\r\nmd viv q\r\nmn\r\n",
        A + b"md a I T30\r\nmg a v t\r\nmg a v t\r\nmg a v\r\nms a 2\r\nhi\r\n"
        b"mg a v t\r\n",
        A + b"touch a 100\r\nmg a R30 t\r\nmg a R300 t\r\nmg a R300 t\r\n"
        b"mg a t T20\r\nmg a T40 t\r\n",
    ],
    "ms": [
        b"ms b 2\r\nhi\r\nms b 2 T0 F5 k c O1 q\r\nhi\r\nmn\r\n"
        b"ms b 2 k O1 F7\r\nhi\r\nmg b v f\r\n",
        b"ms b S2\r\nhi\r\nms b x\r\nhi\r\nms b -1\r\nhi\r\nms b\r\n"
        b"ms b 2 Z\r\nhi\r\nms b 2 q q\r\nhi\r\nms b 2 O" + b"x" * 40
        + b"\r\nhi\r\nversion\r\n",
        b"ms b 2 ME\r\nhi\r\nmd b\r\nms b 2 ME\r\nho\r\nms b 1 MA\r\nx\r\n"
        b"ms b 1 MP\r\ny\r\nmg b v\r\nms b 1 MR\r\nr\r\nms b 1 MS\r\ns\r\n"
        b"ms b 1 MX\r\nx\r\nms b 1 Mxx\r\nx\r\nmd b\r\nms b 1 MA\r\nx\r\n"
        b"ms b 1 MR\r\nx\r\nms b 1 MP\r\nx\r\n",
        b"ms b 2 C1\r\nhi\r\nmd b\r\nms b 2 C1\r\nhi\r\nms b 2 C1 I\r\nhi\r\n"
        b"ms b 2 T100\r\nhi\r\nms b 3 C1 I\r\nold\r\nmg b v t\r\nmg b v\r\n",
        b"ms b 2 T100\r\nhi\r\nms b 1 C1 MA\r\nx\r\nms b 1 C1 MP\r\nx\r\n"
        b"ms b 1 C1 MR\r\nx\r\nms b 1 C1 ME\r\nx\r\nmg b v\r\n",
        b"ms big 2000000\r\n" + BIG + b"\r\nversion\r\nms big 2000000 q\r\n"
        + BIG + b"\r\nversion\r\n",
        b"ms " + LONG + b" 2\r\nhi\r\nversion\r\n",
        b"ms " + KEY + b" 2 k\r\nhi\r\nmg " + KEY + b" k v\r\n",
        b"ms large 40000 k O12 F9\r\n" + b"y" * 40000
        + b"\r\nmg large v k f\r\n",
    ],
    "base64 keys": [
        b"ms Zm9v 2 b\r\nhi\r\nmg Zm9v b v k\r\nmg foo v k\r\nget foo\r\n"
        b"mg Zm9v b k q s\r\nmd Zm9v b k O1\r\nmg Zm9v b k\r\n"
        b"mg @@@@ b k\r\nmg Zm9 b k\r\nms AAECAw== 1 b k\r\nz\r\n"
        b"mg AAECAw== b v k\r\nms AP8= 20000 b k\r\n" + b"z" * 20000
        + b"\r\nmg AP8= b s k\r\nms @@@@ 2 b\r\nhi\r\nmn\r\n",
    ],
    "md": [
        A + b"md a q\r\nmd a q\r\nmn\r\nmd a k O9\r\n" + A + b"md a C1\r\n"
        b"md a C1 q k\r\nmd a k O1\r\nmd a x\r\nmd a q q\r\nmd\r\nmd a O"
        + b"x" * 40 + b"\r\n",
    ],
    "ma": [
        b"md n q\r\nma n\r\nma n N0 J13 v\r\nma n v\r\nma n MD D3 v\r\n"
        b"ma n M+ D10 v t\r\nma n M- D1000 v k O1\r\nma n MX\r\nma n Dx\r\n"
        b"ma n q\r\nma n N30 J2 v q\r\nma n T30 v t\r\nma n t v\r\nmd n q\r\n"
        b"ma n k O1\r\nma n q\r\nma n N30 J2 v t\r\nma n C1 v\r\n",
        A + b"ma a v\r\nma a q\r\nma a MD v\r\n",
    ],
    "mn and me": [b"mn\r\nmn a b\r\nmx\r\nme\r\nme nope\r\nma\r\n"],
    "many commands at once": [
        b"".join(b"set k%d %d 0 %d\r\n%s\r\n"
                 % (i, i, i % 300, b"v" * (i % 300)) for i in range(3000))
        + b"".join(b"get k%d k%d\r\n" % (i, i + 1) for i in range(3000))
        + b"".join(b"incr k%d 1\r\n" % i for i in range(500)),
        b"".join(b"set large%d 0 0 %d\r\n%s\r\n"
                 % (i, 15000 + i * 997, b"L" * (15000 + i * 997))
                 for i in range(40))
        + b"".join(b"get large%d a large%d\r\n" % (i, 39 - i)
                   for i in range(40)),
    ],
}


def random_commands(rng, many=80):
    """A list of commands that are mostly right, on few keys.

    Not asked for: a number that shrinks, what else there is to know of one
    (memcached makes it anew, or not, by who still reads it), numbers from 2^63
    (memcached looks for a minus sign behind the value), uniques that are there.
    """

    def key():
        return rng.choice((b"a", b"b", b"c", b"k" * 250, b"\xe2\x82"))

    def value():
        kind = rng.randrange(8)
        if kind == 0:
            return b""
        if kind == 1:
            return b"%d" % rng.choice((0, 9, 99, 1 << 62))
        if kind == 2:
            return rng.randbytes(rng.choice((15000, 17000, 70000)))
        return rng.randbytes(rng.randrange(1, 400))

    def flags(letters):
        chosen = rng.sample(letters, rng.randrange(min(5, len(letters) + 1)))
        return b"".join(b" " + flag for flag in chosen)

    def storing(verb, bytes_of):
        sent = value()
        tail = rng.choice((b"\r\n",) * 20 + (b"x\r\n", b"\n"))
        return b"%s%s\r\n%s%s" % (verb, bytes_of(len(sent)), sent, tail)

    def classic():
        verb = rng.choice((b"set", b"set", b"add", b"replace", b"append",
                           b"prepend"))
        more = rng.choice((b"", b"", b"", b" noreply"))
        head = b"%s %s %d %d " % (verb, key(), rng.randrange(1 << 32),
                                  rng.choice((0, 0, 0, 100, -1)))
        return storing(head, lambda n: b"%d%s" % (n, more))

    def meta_set():
        more = flags([b"T0", b"T100", b"T-1", b"F77", b"I", b"k", b"Oab",
                      b"q", b"ME", b"MA", b"MP", b"MR", b"C999999999", b"b"])
        return storing(b"ms %s " % key(), lambda n: b"%d%s" % (n, more))

    def one():
        return rng.choice((
            classic, classic, meta_set,
            lambda: b"get %s %s\r\n" % (key(), key()),
            lambda: b"gat %d %s\r\n" % (rng.choice((0, 100, -1)), key()),
            lambda: b"mg %s%s\r\n" % (key(), flags(
                [b"v", b"k", b"f", b"s", b"h", b"q", b"u", b"Oxyz", b"T100",
                 b"N100", b"R50", b"b"])),
            lambda: b"md %s%s\r\n" % (key(), flags(
                [b"k", b"q", b"I", b"T100", b"O1", b"C999999999"])),
            lambda: b"ma num%s\r\n" % flags(
                [b"v", b"k", b"N100", b"J5", b"D7", b"M+", b"q"]),
            lambda: b"incr num %d\r\n" % rng.choice((0, 1, 100)),
            lambda: b"delete %s%s\r\n" % (key(), rng.choice(
                (b"", b" 0", b" noreply", b" 1"))),
            lambda: b"touch %s %d\r\n" % (key(), rng.choice((0, 100, -1))),
            lambda: rng.choice((b"mn\r\n", b"flush_all\r\n", b"bogus\r\n",
                                b"cas a 0 0 1 999999999\r\nx\r\n",
                                b"gets nope\r\n", b"get num a\r\n",
                                b"set num 7 0 2\r\n10\r\n",
                                b"delete num\r\n")),
        ))()

    return [one() for _ in range(many)] + [b"mn\r\n"] * 4
