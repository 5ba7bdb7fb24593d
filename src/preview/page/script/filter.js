// Filters and sorts the contact sheet.

const filterForm = document.getElementById("filter");
const filter = { split: "", box: "", finding: "", padding: "", id: "", column: "", low: "", high: "", label: "", sort: "order" };
const fields = {};

/** Columns with one value per sample, by whether their values are numbers. */
const columnNames = [...new Set(samples.flatMap((sample) => Object.keys(sample.columns)))].filter((name) =>
  samples.every((sample) => !Array.isArray(sample.columns[name])),
);
const isNumeric = (name) => samples.every((sample) => Number.isFinite(Number(sample.columns[name] ?? 0)));
const paddingColumns = columnNames.filter((name) => name.endsWith("_inside_fraction"));
const isPadded = (sample) => paddingColumns.some((name) => Number(sample.columns[name]) < 1);

function field(name, label, control) {
  control.ariaLabel = label;
  control.addEventListener("input", () => {
    filter[name] = control.value;
    applyFilter();
  });
  fields[name] = control;
  const wrapped = element("label", {}, element("span", { textContent: label }), control);
  filterForm.append(wrapped);
  return wrapped;
}

function select(options) {
  return element("select", {}, ...options.map(([value, text]) => element("option", { value, textContent: text })));
}

/** The different values of the samples, as options of a list. */
function optionsOf(values, all) {
  const different = [...new Set(values)].sort((a, b) => String(a).localeCompare(String(b), "en", { numeric: true }));
  return [["", all], ...different.map((value) => [value, value])];
}

function buildFilter() {
  filterForm.addEventListener("submit", (event) => event.preventDefault());
  field("split", "split", select(optionsOf(samples.map((s) => s.split), "all")));
  const boxes = new Map(samples.map((sample) => [String(sample.box), sample.boxId]));
  field("box", "box", select([["", "all"], ...boxes]));
  const kinds = samples.flatMap((s) => s.findings.map((n) => findings[n].kind));
  field("finding", "finding", select([["", "all samples"], ["any", "any finding"], ["none", "no finding"], ...optionsOf(kinds, "").slice(1)]));
  if (paddingColumns.length > 0) {
    field("padding", "padding", select([["", "all"], ["padded", "padded"], ["inside", "inside the volume"]]));
  }
  field("id", "id", element("input", { type: "search", size: 12, inputMode: "numeric" }));
  field("column", "column", select([["", "–"], ...columnNames.map((name) => [name, name])]));
  const low = field("low", "from", element("input", { type: "number", step: "any" }));
  const high = field("high", "to", element("input", { type: "number", step: "any" }));
  const label = field("label", "value", select([]));
  const showColumn = () => {
    const isLabel = filter.column !== "" && !isNumeric(filter.column);
    low.hidden = high.hidden = filter.column === "" || isLabel;
    label.hidden = !isLabel;
    for (const name of ["low", "high", "label"]) filter[name] = fields[name].value = "";
    if (isLabel) {
      const options = optionsOf(samples.map((s) => s.columns[filter.column]), "all");
      fields.label.replaceChildren(...select(options).children);
    }
  };
  fields.column.addEventListener("input", () => {
    showColumn();
    applyFilter();
  });
  showColumn();
  const sorts = columnNames.filter(isNumeric).flatMap((name) => [[`+${name}`, `${name}, low first`], [`-${name}`, `${name}, high first`]]);
  field("sort", "sort by", select([["order", "order of the dataset"], ["id", "annotation id"], ["findings", "findings first"], ...sorts]));
  const reset = element("button", { type: "button", textContent: "show all" });
  reset.addEventListener("click", () => {
    for (const [name, control] of Object.entries(fields)) {
      control.value = name === "sort" ? "order" : "";
      filter[name] = control.value;
    }
    showColumn();
    applyFilter();
  });
  filterForm.append(reset);
  for (const box of document.querySelectorAll("svg .box")) {
    box.addEventListener("click", () => {
      if (!boxes.has(box.dataset.box)) return;
      fields.box.value = filter.box = box.dataset.box;
      applyFilter();
      sheet.scrollIntoView();
    });
  }
}

function isShown(sample) {
  const kinds = sample.findings.map((n) => findings[n].kind);
  if (filter.split && sample.split !== filter.split) return false;
  if (filter.box && String(sample.box) !== filter.box) return false;
  if (filter.finding === "any" && kinds.length === 0) return false;
  if (filter.finding === "none" && kinds.length > 0) return false;
  if (filter.finding && !["any", "none"].includes(filter.finding) && !kinds.includes(filter.finding)) return false;
  if (filter.padding && (filter.padding === "padded") !== isPadded(sample)) return false;
  if (filter.id && !sample.id.includes(filter.id.trim())) return false;
  if (filter.column) {
    const value = sample.columns[filter.column];
    if (filter.low !== "" && !(Number(value) >= Number(filter.low))) return false;
    if (filter.high !== "" && !(Number(value) <= Number(filter.high))) return false;
    if (filter.label && String(value) !== filter.label) return false;
  }
  return true;
}

/** The samples that the filter shows, in their order. */
function shownSamples() {
  const shown = samples.filter(isShown);
  const { sort } = filter;
  if (sort === "id") return shown.sort((a, b) => compareIds(a.id, b.id));
  if (sort === "findings") return shown.sort((a, b) => b.findings.length - a.findings.length);
  if (sort === "order") return shown;
  const name = sort.slice(1);
  const sign = sort[0] === "+" ? 1 : -1;
  const value = (sample) => Number(sample.columns[name] ?? 0);
  return shown.sort((a, b) => sign * (value(a) - value(b)));
}

/** Ids are larger than numbers of JavaScript can hold. */
function compareIds(a, b) {
  const [first, second] = [BigInt(a), BigInt(b)];
  return first < second ? -1 : Number(first > second);
}

function applyFilter() {
  const shown = shownSamples();
  sheet.replaceChildren(...shown.map((sample) => sample.card.item));
  document.getElementById("count").textContent = `${shown.length} of ${samples.length} samples`;
}
