// One plot over time, drawn by uPlot.

import { el, hideTip, showTip } from "./dom.js";
import { clock } from "./format.js";

const HIGH = 190;
const LINES = [{ width: 2 }, { width: 1.2 }, { width: 1.2, dash: [2, 4] }];
const BANDS = ["2b", "16"];

let loading = null;

export function loadPlots() {
  loading ??= new Promise((loaded, failed) => {
    document.head.append(el("link", { rel: "stylesheet", href: "/static/vendor/uPlot.min.css" }),
      el("script", { src: "/static/vendor/uPlot.iife.min.js", onload: () => loaded(/** @type {any} */ (window).uPlot), onerror: () => failed(new Error("The viewer's server does not answer: the plots cannot be drawn.")) }));
  });
  return loading;
}

/** A figure; times are in seconds. `draw` needs it in the page. @param {Plot} plot */
export function plotFigure(plot) {
  const area = el("div.plot-box", { tabindex: 0, role: "group", label: `${plot.title}. ${plot.note}. Arrow keys: point to point; Enter: its traces.` });
  const figure = el("figure.chart", el("figcaption", el("b", plot.title), el("span.dim", plot.note)), area);
  return { figure, draw: (uPlot, colours) => drawn(uPlot, { ...plot, series: plot.series.map((one) => ({ ...one, color: colours[one.group] })) }, area) };
}

function drawn(uPlot, plot, area) {
  const look = getComputedStyle(area);
  const [dim, line, warning, accent] = ["dim", "line", "warning", "accent"].map((name) => look.getPropertyValue(`--${name}`).trim());
  const axis = { stroke: dim, font: `11px ${look.fontFamily}`, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
  const [first, last] = [plot.times[0], plot.times[plot.times.length - 1]];
  const half = plot.times.length > 1 ? (plot.times[1] - first) / 2 : 1800;
  let inside = false;
  const chart = new uPlot({
    width: area.clientWidth,
    height: HIGH,
    legend: { show: false },
    padding: [14, 10, 0, 0],
    scales: { x: { time: true, range: [first - half, last + half] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.06 : 1] } },
    axes: [
      { ...axis, size: 38, space: 64, values: (_, splits) => timeLabels(splits) },
      { ...axis, space: 34, size: (_, labels) => 16 + 6.6 * Math.max(3, ...(labels ?? []).map((label) => label.length)), values: (_, splits) => splits.map((value) => (value ? plot.axis(value) : "0")) },
    ],
    series: [{}, ...plot.series.map(({ color, part }) => ({ stroke: color, ...LINES[part], points: { show: true, size: part ? 3 : 5, fill: color, stroke: color } }))],
    bands: plot.percentiles ? plot.series.flatMap(({ color, part }, at) => (part ? [{ series: [at + 1, at], fill: color + BANDS[part - 1] }] : [])) : [],
    cursor: {
      sync: { key: "time" },
      y: false,
      drag: { x: true, y: false, setScale: false, dist: 6 },
      points: { size: 7 },
      bind: { dblclick: () => () => { plot.out(); return null; } },
    },
    hooks: {
      setSelect: [(self) => { if (inside && self.select.width > 6) plot.zoom(self.posToVal(self.select.left, "x"), self.posToVal(self.select.left + self.select.width, "x")); }],
      setCursor: [(self) => {
        const at = self.cursor.idx;
        if (!inside) return;
        if (at == null || self.cursor.left < 0) return hideTip();
        const box = self.over.getBoundingClientRect();
        showTip({ left: box.left + self.cursor.left + 14, top: box.top, bottom: box.top + box.height }, plot.tip(at));
      }],
      draw: [(self) => { drawMarks(self, plot.marks, { warning, accent, font: axis.font }); }],
    },
  }, [plot.times, ...plot.series.map((one) => one.values)], area);
  const come = () => { inside = true; };
  const leave = () => { inside = false; hideTip(); };
  const enter = () => { if (chart.cursor.idx != null) plot.enter(chart.cursor.idx); };
  for (const [node, name, react] of [[chart.over, "pointerenter", come], [chart.over, "pointerleave", leave], [chart.over, "click", enter], [area, "focus", come], [area, "blur", leave]]) node.addEventListener(name, react);
  area.addEventListener("keydown", (event) => {
    const at = chart.cursor.idx ?? plot.times.length;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: plot.times.length - 1 }[event.key];
    if (to !== undefined) chart.setCursor({ left: chart.valToPos(plot.times[Math.max(0, Math.min(plot.times.length - 1, to))], "x"), top: chart.over.clientHeight / 3 });
    else if (event.key === "Enter") enter();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  return chart;
}

function drawMarks(chart, marks, { warning, accent, font }) {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  let free = -Infinity;
  ctx.save();
  ctx.font = font.replace(/^(\d+)px/, (_, size) => `bold ${Math.round(size * ratio)}px`);
  ctx.textAlign = "center";
  for (const { time, number, drift } of marks) {
    const x = Math.round(chart.valToPos(time, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = drift ? warning : accent;
    ctx.lineWidth = ratio;
    ctx.setLineDash(drift ? [] : [4 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    if (x < free) continue;
    ctx.fillText(String(number), x, bbox.top - 3 * ratio);
    free = x + 16 * ratio;
  }
  ctx.restore();
}

/** The local hour or day of each tick, with the day or year where that changes. */
function timeLabels(splits) {
  const days = splits.length > 1 && splits[1] - splits[0] >= 86000;
  let above = "";
  return splits.map((seconds) => {
    const text = clock(seconds * 1000);
    const [small, large] = days ? [text.slice(5, 10), text.slice(0, 4)] : [text.slice(11, 16), text.slice(0, 10)];
    const label = large === above ? small : `${small}\n${large}`;
    above = large;
    return label;
  });
}
