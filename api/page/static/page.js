// Shows times as the reader's own, draws what moved, and says when the feed is away.
(() => {
  const SECOND = 1000;
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

  function relative(milliseconds) {
    const seconds = Math.round(Math.abs(milliseconds) / SECOND);
    const units = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];
    const [unit, size] = units.find(([, each]) => seconds >= 2 * each) ?? units[3];
    const told = `${Math.floor(seconds / size)} ${unit}`;
    return milliseconds < 0 ? `in ${told}` : `${told} ago`;
  }

  function tellTimes() {
    const now = Date.now();
    for (const element of document.querySelectorAll("time[datetime]")) {
      const at = new Date(element.dateTime);
      const text = relative(now - at.getTime());
      if (element.textContent !== text) element.textContent = text;
      const title = exact.format(at);
      if (element.title !== title) element.title = title;
    }
  }

  let plot = null;
  let drawn = "";

  function bytes(value) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let unit = 0;
    while (value >= 1000 && unit < units.length - 1) { value /= 1000; unit += 1; }
    return `${value < 10 && unit ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
  }

  function draw() {
    const place = document.getElementById("plot");
    if (!place || typeof uPlot === "undefined") return;
    const width = place.clientWidth;
    const key = `${place.dataset.points} ${width}`;
    if (key === drawn) return;
    drawn = key;
    const points = JSON.parse(place.dataset.points);
    if (plot && plot.root.isConnected) {
      plot.setSize({ width, height: 160 });
      plot.setData(points);
      return;
    }
    const style = getComputedStyle(document.documentElement);
    const axis = { stroke: style.getPropertyValue("--text"), grid: { stroke: style.getPropertyValue("--line") } };
    const series = (label, colour) => ({
      label, stroke: style.getPropertyValue(colour), width: 2, points: { show: false },
      value: (_, value) => (value === null ? "–" : `${bytes(value)} a minute`),
    });
    plot = new uPlot({
      width, height: 160,
      series: [{}, series("received", "--receive"), series("sent", "--send")],
      axes: [axis, { ...axis, size: 70, values: (_, ticks) => ticks.map(bytes) }],
      scales: { y: { range: (_, low, high) => [0, Math.max(high, 1000)] } },
    }, points, place);
  }

  function show() { tellTimes(); draw(); }

  function tell(text) {
    const place = document.getElementById("live");
    if (place && place.textContent !== text) place.textContent = text;
  }

  document.addEventListener("DOMContentLoaded", show);
  document.addEventListener("htmx:sse:after:message", show);
  document.addEventListener("htmx:sse:after:connection", () => tell(" · live"));
  document.addEventListener("htmx:sse:error", () => tell(" · the server does not answer"));
  window.addEventListener("resize", draw);
  setInterval(tellTimes, SECOND);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    if (plot) { plot.destroy(); plot = null; drawn = ""; draw(); }
  });
})();
