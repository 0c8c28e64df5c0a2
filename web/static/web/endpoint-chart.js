// The endpoint's live chart: tokens/s (left axis) and acceptance length (right axis) over time, with a marker at each
// new speculator version. Data: GET data-source -> {points: [{t, tokens_per_second, acceptance_length}], versions: [{t, label}], summary}.
"use strict";
(() => {
  const root = document.querySelector("[data-endpoint-chart]");
  if (!root) return;
  const summary = document.getElementById("chart-summary");
  const body = document.querySelector("#chart-table tbody");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let versions = [];
  let plot = null;

  const drawMarkers = (u) => {
    const { ctx } = u;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = css("--chart-mark");
    ctx.lineWidth = 2 * devicePixelRatio;
    ctx.setLineDash([]);
    ctx.font = `600 ${11 * devicePixelRatio}px system-ui, sans-serif`;
    for (const { t, label } of versions) {
      if (t < u.scales.x.min || t > u.scales.x.max) continue;
      const x = u.valToPos(t, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, u.bbox.top);
      ctx.lineTo(x, u.bbox.top + u.bbox.height);
      ctx.stroke();
      const roomRight = u.bbox.left + u.bbox.width - x > 70 * devicePixelRatio;
      ctx.textAlign = roomRight ? "left" : "right";
      ctx.fillText(label, x + (roomRight ? 6 : -6) * devicePixelRatio, u.bbox.top + 14 * devicePixelRatio);
    }
    ctx.restore();
  };

  const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

  const options = (width) => ({
    width,
    height: 280,
    padding: [16, 8, 0, 8],
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true }, speed: { range: (u, min, max) => [0, Math.max(max * 1.15, 1)] }, length: { range: (u, min, max) => [0, Math.max(max * 1.15, 2)] } },
    series: [
      {},
      { label: "tokens/s", scale: "speed", stroke: css("--chart-a"), width: 2, points: { size: 6 } },
      { label: "acceptance length", scale: "length", stroke: css("--chart-b"), width: 2, dash: [6, 4], points: { size: 6 } },
    ],
    axes: [
      { stroke: css("--ink-soft"), grid: { stroke: css("--chart-grid") }, space: 80, values: (u, splits) => splits.map(clock) },
      { scale: "speed", label: "tokens/s per request", stroke: css("--chart-a"), grid: { stroke: css("--chart-grid") }, size: 56 },
      { scale: "length", side: 1, label: "acceptance length", stroke: css("--chart-b"), grid: { show: false }, size: 56 },
    ],
    hooks: { draw: [drawMarkers] },
  });

  const cell = (text, numeric) => {
    const element = document.createElement("td");
    element.textContent = text;
    if (numeric) element.className = "num";
    return element;
  };

  // A pause between requests breaks the line: nothing was measured there.
  const PAUSE_SECONDS = 60;
  const columns = (points) => {
    const rows = [[], [], []];
    const push = (...values) => values.forEach((value, i) => rows[i].push(value));
    points.forEach((p, i) => {
      if (i && p.t - points[i - 1].t > PAUSE_SECONDS) push(p.t - 1, null, null);
      push(p.t, p.tokens_per_second, p.acceptance_length);
    });
    return rows;
  };

  const show = (data) => {
    versions = data.versions;
    root.dataset.points = String(data.points.length);
    root.dataset.markers = String(versions.length);
    summary.textContent = data.summary;
    const rows = columns(data.points);
    if (plot) plot.setData(rows);
    else if (data.points.length) plot = new uPlot(options(root.clientWidth), rows, root);
    body.replaceChildren(
      ...data.points.slice(-50).reverse().map((p) => {
        const row = document.createElement("tr");
        row.append(
          cell(new Date(p.t * 1000).toLocaleTimeString()),
          cell(p.tokens_per_second.toFixed(1), true),
          cell(p.acceptance_length.toFixed(2), true),
          cell(String(p.requests), true),
          cell(p.version),
        );
        return row;
      }),
    );
  };

  const refresh = async () => {
    if (document.hidden) return;
    try {
      const response = await fetch(root.dataset.endpointChart, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (response.status === 401 || response.redirected) { location.reload(); return; }
      if (response.ok) show(await response.json());
    } catch { summary.textContent = "The chart could not be refreshed; trying again."; }
  };

  new ResizeObserver(() => { if (plot && root.clientWidth) plot.setSize({ width: root.clientWidth, height: 280 }); }).observe(root);
  refresh();
  setInterval(refresh, 3000);
})();
