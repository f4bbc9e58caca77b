"use strict";
(() => {
  let figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 600px)");

  // Colours come from the page's own variables, so that plots follow dark, light and print.
  const theme = (onPaper) => {
    const style = getComputedStyle(document.documentElement);
    const colour = (name, print) => (onPaper ? print : style.getPropertyValue(name).trim());
    const ink = colour("--ink", "#000000");
    const line = colour("--line", "#cccccc");
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line };
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
      xaxis: { ...base.xaxis, ...figure.layout.xaxis },
      yaxis: { ...base.yaxis, ...figure.layout.yaxis },
      margin: { l: narrow.matches ? 56 : 76, r: 12, t: 8, b: 48 }, // fixed: legend and axes would push each other
      hovermode: "closest",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: base.font.color, activecolor: base.font.color },
      legend: { orientation: "h", y: -0.18, yanchor: "top", x: 0, ...figure.layout.legend },
      autosize: true,
      uirevision: "kept", // what one zoomed or switched off stays so when news come
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

  // Beside a running job: the server renders the page anew, and what has changed is taken over.
  const refresh = Number(document.documentElement.dataset.refresh || 0);
  const told = document.getElementById("news");
  let seen = "";
  const take = (text) => {
    const news = new DOMParser().parseFromString(text, "text/html");
    const fresh = JSON.parse(news.getElementById("figures").textContent);
    if (fresh.map((f) => f.id).join() !== figures.map((f) => f.id).join()) {
      window.location.reload(); // a first window, or a first event: other plots than before
      return;
    }
    figures = fresh;
    for (const part of document.querySelectorAll("[data-live]")) {
      const found = news.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
      if (found && found.innerHTML !== part.innerHTML) {
        part.innerHTML = found.innerHTML;
      }
    }
    draw(false);
    told.textContent = "Follows the run. Last news: " + new Date().toLocaleTimeString();
  };
  const ask = async () => {
    try {
      const answer = await fetch("news", { headers: seen ? { "If-None-Match": seen } : {} });
      if (answer.status === 200) {
        seen = answer.headers.get("ETag") || "";
        take(await answer.text());
      } else if (answer.status !== 304) {
        told.textContent = await answer.text();
      }
    } catch {
      told.textContent = "The command that serves this page has ended: these are its last figures.";
    }
    window.setTimeout(ask, refresh);
  };
  if (refresh) {
    ask();
  }
})();
