// Tables that sort by a click on a head and that are filtered by a word and by what went wrong.
(() => {
  "use strict";

  const valueOf = (row, column) => {
    const text = row.cells[column].firstChild?.textContent.trim() ?? "";
    const number = Number.parseFloat(text.replaceAll(",", ""));
    return Number.isNaN(number) || column === 0 ? text : number;
  };

  // Dashes, which stand for no value, come last whichever way the table is sorted.
  const isNone = (value) => value === "" || value === "–";

  const natural = new Intl.Collator("en", { numeric: true });

  function sort(table, column, descending) {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row, place) => ({ row, place, value: valueOf(row, column) }));
    rows.sort((one, other) => {
      if (isNone(one.value) || isNone(other.value)) return isNone(one.value) - isNone(other.value) || one.place - other.place;
      const both = typeof one.value === "number" && typeof other.value === "number";
      const order = both ? one.value - other.value : natural.compare(String(one.value), String(other.value));
      return (descending ? -order : order) || one.place - other.place;
    });
    body.append(...rows.map(({ row }) => row));
  }

  function makeSortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  }

  function makeFilter(box) {
    const table = document.getElementById(box.dataset.table);
    const [word, mark, told] = [box.querySelector("input"), box.querySelector("select"), box.querySelector("output")];
    const show = () => {
      const wanted = word.value.trim().toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const fits = row.cells[0].textContent.toLowerCase().includes(wanted)
          && (!mark.value || row.dataset.marks.split(" ").includes(mark.value));
        row.hidden = !fits;
        shown += fits;
      }
      told.textContent = `${shown} of ${table.tBodies[0].rows.length}`;
    };
    word.addEventListener("input", show);
    mark.addEventListener("change", show);
    box.hidden = false;
    show();
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll(".filter").forEach(makeFilter);
})();
