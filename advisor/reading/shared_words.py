"""Parts that several patterns of prose share."""

GAP = r"(?:[^.]|\.(?=\w)){0,60}?"
NEAR = r"(?:[^.]|\.(?=\w)){0,25}?"
WORKS = (
    r"(?:works?|worked|fits?|fitted|runs?|ran|fine|ok(?:ay)?|pass(?:es|ed)?|trains?|succeeds?|normal|no problem"
    r"|goes through|goes away|gone|geht|klappt|läuft|funktioniert|fits|marche|fonctionne|funciona|enough|solve[sd]?"
    r"|fix(?:es|ed)?|helps?|helped)(?!\w)"
    r"|正常|可以|没问题|好了|работает|помогает|проходит|идет|動(?:く|きます)|直(?:る|ります)"
)
FAILS = (
    r"(?:fail\w{0,3}|dies?|died|crash\w{0,3}|ooms?|out of memory|runs? out|ran out|blows?|explodes?|errors?|boom"
    r"|breaks?|gives|does(?: not|n't)|won't|cannot|can't|kills?)(?!\w)|->|:|爆|报错|不行|падает|ошибка"
)
