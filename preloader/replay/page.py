"""The report's fixed text: the page around the figures, and the notes under them."""

TABLE_NOTE = (
    "<b>Ready</b>: found loaded when asked for. <b>Late</b>: joined a load in flight. <b>Coverage</b>: ready here, of "
    "what lru missed. <b>Time saved</b>: waiting, against lru. <b>Waste</b>: preloads evicted, cancelled in flight or "
    "unused at session end, of those that ended used or wasted. <b>Pollution</b>: needs that lru had and that "
    "missed here. A dash: nothing to divide by."
)
FRONTIER_NOTE = (
    "Each point is a whole replay under the waste budget beside it, which also grants a few preloads to begin with: a "
    "short replay can exceed it. The dashed lines are the comparators' timely hit rates."
)
TIMELINE_NOTE = (
    "One lane for each resource. A bar is a preload: pale while it loads, solid while it is ready and waits to be "
    "used. A dark line behind a mark is time that somebody waited."
)
CALIBRATION_NOTE = (
    "On the dotted line, what is stated with 70 % comes true seven times in ten. Larger marks stand for more "
    "predictions."
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root{{color-scheme:light dark;--page:#fff;--card:#f6f7f9;{light}}}
@media (prefers-color-scheme:dark){{:root{{--page:#16191d;--card:#1f242a;{dark}}}}}
body{{margin:0 auto;padding:2rem 1.25rem 4rem;max-width:62rem;background:var(--page);color:var(--ink);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}}
h1{{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}}
h2{{font-size:1.15rem;margin:2.5rem 0 .75rem}}
.lead{{font-size:1.1rem;margin:0 0 1.25rem}}
.tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(12.5rem,1fr));gap:.75rem}}
.tile{{background:var(--card);border-radius:.5rem;padding:.75rem 1rem;display:flex;flex-direction:column}}
.tile span{{color:var(--muted);font-size:.85rem}} .tile b{{font-size:1.7rem;line-height:1.3}}
.wide{{overflow-x:auto}}
table{{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums;width:100%}}
th,td{{padding:.4rem .4rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}}
th:first-child{{text-align:left}} thead th{{color:var(--muted);font-weight:500}} tbody th{{font-weight:500}}
tr.preloader{{background:var(--card)}} tr.preloader th,tr.preloader td{{font-weight:650}}
td small{{color:var(--muted);font-weight:400}}
i{{display:inline-block;width:.7em;height:.7em;border-radius:50%;margin-right:.5em}}
svg{{display:block;max-width:100%;height:auto}}
.note,.empty{{color:var(--muted);font-size:.875rem;max-width:46rem}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.25rem;font-size:.875rem}}
dt{{color:var(--muted)}} dd{{margin:0;overflow-wrap:anywhere}}
code{{font-size:.9em;overflow-wrap:anywhere}}
</style>
</head>
<body>
{body}
</body>
</html>
"""
