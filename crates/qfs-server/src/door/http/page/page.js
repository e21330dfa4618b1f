// What makes the page quicker: searching and sorting without asking again, the keyboard, times in the reader's own zone.
// Everything here works without it too. Text from the server is only ever compared, never made into markup.
"use strict";
document.documentElement.classList.add("scripted");

const table = document.getElementById("files");
const search = document.getElementById("q");
const rows = table ? [...table.tBodies[0].rows].filter((row) => "name" in row.dataset) : [];
const isWhole = Boolean(table && "whole" in table.dataset);

const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
for (const time of document.querySelectorAll("time")) {
  const date = new Date(time.dateTime);
  if (!Number.isNaN(date.valueOf())) {
    time.title = time.dateTime;
    time.textContent = zone.format(date);
  }
}

function show() {
  const wanted = search.value.trim().toLowerCase();
  let count = 0;
  for (const row of rows) {
    row.hidden = wanted !== "" && !row.dataset.name.toLowerCase().includes(wanted);
    count += row.hidden ? 0 : 1;
  }
  document.getElementById("none").hidden = count > 0;
  document.getElementById("sum").textContent = wanted === "" ? sum : `${count} of ${rows.length} shown; Enter searches the directories too`;
}
const sum = document.getElementById("sum")?.textContent;
if (search && isWhole) {
  search.addEventListener("input", show);
  show();
}

const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
function compare(key, a, b) {
  if (("directory" in a.dataset) !== ("directory" in b.dataset)) {
    return 0;
  }
  const order = key === "name" ? 0 : Number(a.dataset[key]) - Number(b.dataset[key]);
  return order || byName.compare(a.dataset.name, b.dataset.name);
}
function sort(heading, key) {
  const cell = heading.closest("th");
  const current = cell.getAttribute("aria-sort");
  const descending = current === null ? key !== "name" : current === "ascending";
  for (const other of cell.parentElement.cells) {
    other.removeAttribute("aria-sort");
  }
  cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const directories = rows.filter((row) => "directory" in row.dataset);
  const files = rows.filter((row) => !("directory" in row.dataset));
  for (const part of [directories, files]) {
    part.sort((a, b) => (descending ? -compare(key, a, b) : compare(key, a, b)));
  }
  table.tBodies[0].append(...directories, ...files);
}
for (const heading of table ? table.querySelectorAll("th a[data-key]") : []) {
  heading.addEventListener("click", (event) => {
    if (isWhole && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      sort(heading, heading.dataset.key);
    }
  });
}

// "/" to search, up and down from row to row, Escape back to all of them.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !isTyping && search) {
    event.preventDefault();
    search.select();
    search.focus();
  } else if (event.key === "Escape" && event.target === search) {
    search.value = "";
    if (isWhole) show();
    search.blur();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && table) {
    const links = [...table.querySelectorAll("tbody tr:not([hidden]) td:first-child a")];
    if (links.length === 0 || (isTyping && event.target !== search)) return;
    const at = links.indexOf(document.activeElement);
    const next = event.key === "ArrowDown" ? at + 1 : at - 1;
    event.preventDefault();
    if (next < 0 && search) search.focus();
    else links[Math.min(Math.max(next, 0), links.length - 1)].focus();
  }
});

// A link may bring a token behind its #, which browsers send to nobody, so that it is in no log. It is taken out of the address, and
// given to the form that asks for one.
const brought = /^#token=([A-Za-z0-9._~-]{1,512})$/.exec(location.hash);
if (brought) {
  history.replaceState(null, "", location.pathname + location.search);
  const field = document.getElementById("token");
  if (field && !document.getElementById("wrong")) {
    field.value = brought[1];
    field.form.elements.next.value ||= location.pathname;
    field.form.submit();
  }
}
