"""Instructions for `--change`: each kind in each form that somebody may write."""

from __future__ import annotations

_FORMS: dict[str, tuple[str, ...]] = {
    "CMD": (
        *("", "[]", '["a"]', '["a","b"] more', '["a", "b"', "['a']", "[1]", '["a",]', '[""]'),
        *("a b  c", "--x y", "-- y", "$B", '"a b"', "a # b", '{"a": 1}', "null", '["\\u0041"]'),
    ),
    "ENTRYPOINT": ("", "[]", '["a"]', "a b", '["a", 1]', "--x y", "$B"),
    "ENV": (
        *("A=3", "A 1  2 ", "A", "=x", "A= C=2", "A=1 C", "C D=1", "a=3", "A==x", "A=1=2", ""),
        *("A=\"1 2\" C='x y'", 'A="$B"', "A='$B'", '"A=3"', "A=\"x\"y'z'", "A=a\\ b", "A=\\$B"),
        *("A=$B", "A=${B}x", "A=$Bx", "A=$NO", "A=${NO:-d}", "A=${B:-d}", "A=${NO:+d}"),
        *("A=${B:+d}", "A=${NO:-$B}", "A=${B:?x}", "A=${", "A=$", "A=$$", "A=${B-d}", "A=${}"),
        *("B=7 C=$B", "$B=x", "C=$A$B", "A=\\n", 'A="\\""', "A='", 'A="', "A=\u00e9", "--x A=1"),
        *("A\t1", "A =1", "A = 1", "1A=x", "A.b-c=x", "C='$B'$B"),
    ),
    "EXPOSE": (
        *("80", "81", "81/udp", "81/UDP", "81/sctp", "81/icmp", "81/", "/udp", "", "abc", "1.5"),
        *("81-83", "81-83/udp", "83-81", "81-", "-81", "81-81", "0", "0-1", "65535", "65536"),
        *("65534-65536", "8000:81", "8000:81/udp", "8000-8001:81-82", "8000-8001:81", ":81"),
        *("81:", "127.0.0.1:8000:81", "127.0.0.1::81", "[::1]:8000:81", "::1:8000:81", "x:1:81"),
        *("8000:81-82", "81 82/udp 83", "$B", "$NO", "8$B", '"81"', "081", "+81", "81/tcp 81/udp"),
        *("70000:81", "a:81", "300.0.0.1:1:81", "1-2-3", "81/tcp/udp", "--x 81", "8000:81:82"),
    ),
    "HEALTHCHECK": (
        *("", "NONE", "none", "NONE x", "--interval=1s NONE", "--bad=1 NONE", "CMD", "cmd x", "x"),
        *("CMD x", "CMD x  y", 'CMD ["x"]', "CMD []", 'CMD ["x", 1]', "CMD $B", "CMD --x y"),
        *(f"--interval={each} CMD x" for each in ("0", "0s", "1ms", "999us", "-1s", "1h30m")),
        *(f"--interval={each} CMD x" for each in ("1.5s", "5", "abc", "", "1s1s", ".5s", "1e3s")),
        *(f"--interval={each} CMD x" for each in ("+1s", "2562047h", "2562048h", "1000000ns")),
        *(f"--retries={each} CMD x" for each in ("0", "1", "-1", "x", "1e3", "+3", "2147483648")),
        *(f"--retries={each} CMD x" for each in ("", "03", "1_0", "0x1", "2147483647")),
        *("--timeout=2s --timeout=3s CMD x", "--timeout=0s CMD x", "--start-period=0s CMD x"),
        *("--interval CMD x", "--start-interval=1s CMD x", "--bad=1 CMD x", "-- CMD x"),
        *("--start-period=2s --timeout=3s --interval=4s --retries=5 CMD x", "--INTERVAL=1s CMD x"),
    ),
    "LABEL": (
        *("a=b", "c d e", 'a="b c"', "a", '"a b"=c', "a=$B", "c=1 c=2", "=x", "a='$B'", "a=", ""),
        *("a.b-c/d=1", "c=\\", "$B=c", "a=1 b", "--x a=1"),
    ),
    "ONBUILD": (
        *("RUN x", "run x", "ONBUILD RUN x", "onbuild x", "FROM x", "MAINTAINER x", "", "BAD x"),
        *("COPY a b", "RUN", "  RUN  x  y ", "--x RUN y", "RUN --mount=x y", "$B x"),
    ),
    "USER": ("2", "2:3", "$B", "", "a b", '"a"', "--x a", "$NO", "  2  "),
    "VOLUME": (
        *("/a", "/a /b", '["/a","/b"]', "[]", '[""]', "", "$B", '["/a"', "more", '["$B"]', "/a,/b"),
        *("--x /a", "/data", '"/a b"', '[" "]'),
    ),
    "WORKDIR": (
        *(
            "/w",
            "w",
            "../w",
            "/a/../b",
            "$B",
            "",
            "a b",
            "/w/",
            "~",
            "/",
            ".",
            "//w",
            "$NO",
            '"/w"',
        ),
        *("--x /w", "/w//x"),
    ),
}
_OTHERS = (
    *("RUN x", 'SHELL ["x"]', "STOPSIGNAL 9", "MAINTAINER x", "ARG x", "COPY a b", "FROM x", "BAD"),
    *("ADD a b", "", "   ", "# comment", "#USER 2", "user 2", "UsEr 2", "\tUSER 3", "USER\t4"),
    *("ENV A=3\nENV B=4", "ENV A=3 \\\n C=4", "ENV A=3\\\nx", "USER 2\n\nUSER 3", "USER 2 \\\n"),
    *("# escape=`\nENV A=3 `\n C=4", "# escape=`\nENV A=`$B", "#escape=`\nENV A=\\$B"),
    *("ENV A=3 \\\n# between\n C=4", "USER 2 # no comment", "# syntax=x\nUSER 2", "=", "USER=2"),
    *("# escape=x\nUSER 2", "USER 2\n# escape=`\nENV A=3 \\\n C=4", "USER 2\r\nUSER 3"),
)

INSTRUCTIONS: tuple[str, ...] = (
    *(f"{name} {rest}" if rest else name for name, forms in _FORMS.items() for rest in forms),
    *_OTHERS,
)
