"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const axes = Object.keys(data.axes);
const metricNames = Object.keys(data.units);
const machines = [...new Set(data.cells.map((cell) => cell.machine))];
const palette = ["#0b63b0", "#d55e00", "#00796b", "#a0348a", "#b38600", "#5b3fa8", "#7a1230", "#5f6b79"];
const chosen = {};

function element(name, attributes = {}, text = "") {
  const svg = ["svg", "g", "path", "line", "circle", "text", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function choice(key, title, values, first, empty = "none") {
  const label = element("label", {}, title);
  const select = element("select", { "aria-label": title });
  for (const value of values) select.append(element("option", { value }, value || empty));
  chosen[key] = select.value = first;
  select.addEventListener("change", () => { chosen[key] = select.value; draw(); });
  label.append(select);
  document.getElementById("choices").append(label);
}

function shown(value, unit) {
  if (value === null || value === undefined) return "–";
  const steps = unit === "1" || value === 0 ? [[1, ""]]
    : [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"]];
  const [size, prefix] = steps.find(([size]) => Math.abs(value) >= size) || steps[steps.length - 1];
  return `${Number((value / size).toPrecision(3))} ${prefix}${unit === "1" ? "" : unit}`.trim();
}

function middle(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

function considered() {
  return data.cells.filter((cell) => (!chosen.machine || cell.machine === chosen.machine)
    && axes.every((axis) => !chosen[`only ${axis}`] || axis === chosen.x || axis === chosen.y
      || cell.axes[axis] === chosen[`only ${axis}`]));
}

function place(column, row) {
  return considered().filter((cell) => (!chosen.x || cell.axes[chosen.x] === column)
    && (!chosen.y || cell.axes[chosen.y] === row));
}

function numbers(cells) {
  return cells.map((cell) => cell.metrics[chosen.metric]).filter((value) => value !== undefined);
}

function drawGrid(columns, rows, unit) {
  const grid = document.getElementById("grid");
  grid.replaceChildren();
  const head = element("tr");
  head.append(element("th", {}, [chosen.y, chosen.x].filter(Boolean).join(" \\ ")));
  for (const column of columns) head.append(element("th", {}, column));
  grid.append(head);
  const middles = rows.flatMap((row) => columns.map((column) => numbers(place(column, row))))
    .filter((values) => values.length).map(middle);
  const low = Math.min(...middles), high = Math.max(...middles);
  for (const row of rows) {
    const line = element("tr");
    line.append(element("th", {}, row || chosen.metric || ""));
    for (const column of columns) {
      const cells = place(column, row), values = numbers(cells);
      const field = element("td", cells.length ? { tabindex: "0" } : { class: "none" });
      field.textContent = values.length ? shown(middle(values), unit) : cells.length ? "no number" : "–";
      if (values.length > 1)
        field.append(element("small", {}, `${shown(Math.min(...values), unit)} … ${shown(Math.max(...values), unit)}, n ${values.length}`));
      if (values.length && high > low)
        field.style.background = `color-mix(in srgb, var(--link) ${Math.round(8 + 34 * (middle(values) - low) / (high - low))}%, var(--paper))`;
      if (cells.some((cell) => !["pass", "skip"].includes(cell.verdict))) field.classList.add("bad");
      const open = () => { drawCell(cells, unit); document.querySelectorAll("#grid .chosen").forEach((other) => other.classList.remove("chosen")); field.classList.add("chosen"); };
      if (cells.length) {
        field.addEventListener("click", open);
        field.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
      }
      line.append(field);
    }
    grid.append(line);
  }
}

function drawCell(cells, unit) {
  const table = element("table");
  const head = element("tr");
  for (const name of ["run", "repetition", chosen.metric || "metric", "verdict", "machine"]) head.append(element("th", {}, name));
  table.append(head);
  for (const cell of cells) {
    const row = element("tr"), link = element("td");
    link.append(element("a", { href: cell.href }, axes.map((axis) => `${axis} ${cell.axes[axis]}`).join(", ") || "the run"));
    row.append(link, element("td", {}, String(cell.repetition)), element("td", {}, shown(cell.metrics[chosen.metric], unit)),
      element("td", {}, cell.verdict + (cell.why ? `: ${cell.why}` : "")), element("td", {}, cell.machine));
    table.append(row);
  }
  document.getElementById("cell").replaceChildren(table);
}

function drawPlot(columns, rows, unit) {
  const width = 900, height = 340, left = 80, right = 150, top = 16, bottom = 44;
  const figure = document.getElementById("plot");
  figure.replaceChildren();
  const all = numbers(considered());
  if (!chosen.x || !all.length) return;
  const numeric = columns.every((column) => column !== "" && isFinite(column)) && columns.length > 1;
  const scale = numeric && Math.min(...columns) > 0 ? Math.log2 : Number;
  const ends = numeric ? [scale(Math.min(...columns)), scale(Math.max(...columns))] : [0, Math.max(1, columns.length - 1)];
  const at = (column) => left + (width - left - right) * ((numeric ? scale(column) : columns.indexOf(column)) - ends[0]) / (ends[1] - ends[0]);
  const high = Math.max(...all, 0) || 1, low = Math.min(...all, 0);
  const up = (value) => top + (height - top - bottom) * (high - value) / (high - low);
  const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${chosen.metric} by ${chosen.x}` });
  for (let step = 0; step <= 4; step++) {
    const value = low + (high - low) * step / 4;
    svg.append(element("line", { x1: left, x2: width - right, y1: up(value), y2: up(value), stroke: "var(--grid)" }),
      element("text", { x: left - 8, y: up(value) + 4, "text-anchor": "end" }, shown(value, unit)));
  }
  for (const column of columns) svg.append(element("text", { x: at(column), y: height - bottom + 20, "text-anchor": "middle" }, column));
  svg.append(element("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, chosen.x));
  rows.forEach((row, number) => {
    const colour = palette[number % palette.length];
    const points = columns.map((column) => [column, numbers(place(column, row))]).filter(([, values]) => values.length);
    const path = points.map(([column, values], index) => `${index ? "L" : "M"}${at(column)},${up(middle(values))}`).join("");
    svg.append(element("path", { d: path, fill: "none", stroke: colour, "stroke-width": 2 }));
    for (const [column, values] of points) for (const value of values) {
      const dot = element("circle", { cx: at(column), cy: up(value), r: 3.5, fill: colour, "fill-opacity": .6 });
      dot.append(element("title", {}, `${row ? `${chosen.y} ${row}, ` : ""}${chosen.x} ${column}: ${shown(value, unit)}`));
      svg.append(dot);
    }
    const y = top + 14 + number * 20;
    svg.append(element("circle", { cx: width - right + 20, cy: y - 4, r: 5, fill: colour }),
      element("text", { x: width - right + 32, y }, row || chosen.metric));
  });
  figure.append(svg);
}

function draw() {
  const unit = data.units[chosen.metric] || "";
  const columns = chosen.x ? data.axes[chosen.x] : [""];
  const rows = chosen.y && chosen.y !== chosen.x ? data.axes[chosen.y] : [""];
  if (chosen.y === chosen.x) chosen.y = "";
  drawGrid(columns, rows, unit);
  drawPlot(columns, rows, unit);
  document.getElementById("legend").textContent = chosen.metric
    ? `Median of ${chosen.metric}, with its range and the number of cells where there are several; framed in red: a cell failed or broke. A click shows the cells.`
    : "No cell has a number; a click shows the cells.";
  document.getElementById("cell").replaceChildren();
}

choice("metric", "metric", metricNames.length ? metricNames : [""], metricNames[0] || "");
const first = axes.find((axis) => data.axes[axis].every((value) => isFinite(value))) || axes[axes.length - 1] || "";
choice("x", "columns", ["", ...axes], first);
choice("y", "rows", ["", ...axes], axes.find((axis) => axis !== first) || "");
for (const axis of axes) choice(`only ${axis}`, `only ${axis}`, ["", ...data.axes[axis]], "", "all");
if (machines.length > 1) choice("machine", "machine", machines, machines[0]);
draw();
