"""How the page of a report looks, in light and dark, and the script that filters its rows."""

STYLE = """
:root { --bg: #fff; --fg: #1c1e21; --soft: #59606b; --line: #d8dce2; --panel: #f5f6f8;
  --green: #1a7f37; --red: #c32f27; --amber: #a15c00; --blue: #0b62c4; --grey: #7a828e; }
@media (prefers-color-scheme: dark) { :root { --bg: #15171b; --fg: #e6e8eb; --soft: #a5adb8;
  --line: #363b43; --panel: #1e2127; --green: #4cc26b; --red: #ff8078; --amber: #e3a33f;
  --blue: #6cb0ff; --grey: #8b939f; } }
body { margin: 0; background: var(--bg); color: var(--fg); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 76rem; margin: 0 auto; padding: 1.5rem 1rem; }
h1 { margin: 0 0 .75rem; font-size: 1.9rem; } h2 { margin: 1.75rem 0 .5rem; font-size: 1.15rem; }
code { font: .9em/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.bar { display: flex; height: 1rem; gap: 2px; border-radius: .3rem; overflow: hidden; }
.bar span { min-width: 4px; background: var(--grey); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
.mark { display: inline-block; width: .7em; height: .7em; margin-right: .4em; border-radius: 50%;
  background: var(--grey); }
.bar .loaded, .mark.loaded { background: var(--green); }
.bar .mismatched, .mark.mismatched { background: var(--red); }
.bar .missing, .mark.missing, .bar .skipped, .mark.skipped { background: var(--amber); }
.why { margin: 1rem 0; padding: .75rem 1rem; background: var(--panel);
  border-left: 4px solid var(--amber); border-radius: .3rem; }
.why.mismatched { border-color: var(--red); } .why.near { border-color: var(--blue); }
.why h2 { margin: 0 0 .35rem; } .why ul { margin: 0; padding-left: 1.2rem; }
.wide { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); } tbody th { font-weight: normal; }
.filter { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem 1.25rem;
  margin: .5rem 0; }
.filter[hidden] { display: none; }
fieldset { display: flex; flex-wrap: wrap; gap: .25rem 1rem; border: 0; margin: 0; padding: 0; }
legend { float: left; margin-right: .75rem; color: var(--soft); }
input[type=search] { font: inherit; color: inherit; background: var(--bg); padding: .2rem .5rem;
  border: 1px solid var(--soft); border-radius: .3rem; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
details { margin: 1rem 0; } summary { cursor: pointer; }
footer { padding: 1rem; text-align: center; color: var(--soft); font-size: .85rem; }
"""

SCRIPT = """
const form = document.querySelector(".filter"), search = document.getElementById("search");
const rows = [...document.querySelectorAll("#variables tbody tr")];
const names = rows.map(row => row.textContent.toLowerCase());
const count = document.getElementById("count");
function filter() {
  const shown = new Set([...form.querySelectorAll("input:checked")].map(box => box.value));
  const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
  let n = 0;
  rows.forEach((row, i) => {
    row.hidden = !shown.has(row.dataset.verdict) || !words.every(word => names[i].includes(word));
    n += !row.hidden;
  });
  count.textContent = n + " of " + rows.length + " shown";
}
form.hidden = false;
form.addEventListener("input", filter);
form.addEventListener("submit", event => event.preventDefault());
filter();
"""
