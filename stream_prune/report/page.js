"use strict";
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 600px)");

  // Colours come from the page's own variables, so that plots follow dark, light and print.
  const theme = (onPaper) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name, print) => (onPaper ? print : style.getPropertyValue(name).trim());
    const ink = colour("--ink", "#000000");
    const line = colour("--line", "#cccccc");
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: "system-ui, sans-serif", size: narrow.matches ? 11 : 13 },
      hoverlabel: { bgcolor: colour("--band", "#ffffff"), font: { color: ink } },
      xaxis: { ...axis, type: "date" },
      yaxis: axis,
    };
  };

  const layoutOf = (figure, onPaper) => {
    const base = theme(onPaper);
    return {
      ...base,
      ...figure.layout,
      yaxis: { ...base.yaxis, ...figure.layout.yaxis },
      margin: { l: 56, r: 12, t: 8, b: 40 },
      hovermode: "closest",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: base.font.color, activecolor: base.font.color },
      legend: { orientation: "h", y: -0.18, yanchor: "top", x: 0 },
      autosize: true,
    };
  };

  const config = () => ({
    responsive: true,
    displaylogo: false,
    displayModeBar: narrow.matches ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  });
  const element = (figure) => document.getElementById("plot-" + figure.id);
  const draw = (onPaper) => {
    for (const figure of figures) {
      Plotly.react(element(figure), figure.traces, layoutOf(figure, onPaper), config());
    }
  };

  draw(false);
  dark.addEventListener("change", () => draw(false));
  narrow.addEventListener("change", () => draw(false));
  window.addEventListener("beforeprint", () => draw(true));
  window.addEventListener("afterprint", () => draw(false));
  document.documentElement.dataset.drawn = String(figures.length);
})();
