for (const head of document.querySelectorAll("th[data-sort]")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], at = head.cellIndex, up = head.dataset.sort !== "up";
    const value = row => row.cells[at].dataset.v ?? row.cells[at].textContent.trim();
    const order = (a, b) => {
      const x = parseFloat(value(a)), y = parseFloat(value(b));
      return isNaN(x) || isNaN(y) ? value(a).localeCompare(value(b)) : x - y;
    };
    const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b));
    head.dataset.sort = up ? "up" : "down";
    body.append(...rows);
  });
}
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(one => { one.open = true; }));
