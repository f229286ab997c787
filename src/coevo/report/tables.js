/* Tables of the page: a click on a title orders the rows, a box above a long table filters them, and the table of entries and the
   map show each other. Without scripts the tables are as they are. */
"use strict";
(function () {
    const FEW = 3, LONG = 8;
    const collator = new Intl.Collator("en", { numeric: true });
    const value = (row, column) => row.cells[column].textContent.trim();
    // the page writes minus signs, and a dash where there is no number
    const number = (text) => { const found = parseFloat(text.replace(/\u2212/g, "-")); return Number.isNaN(found) ? null : found; };

    function order(table, column, falls) {
        const body = table.tBodies[0], numeric = table.tHead.rows[0].cells[column].classList.contains("number");
        const sign = falls ? -1 : 1;
        const rows = [...body.rows].map((row, place) => ({ row, place, text: value(row, column) }));
        rows.sort((a, b) => {
            if (!numeric) { return sign * collator.compare(a.text, b.text) || a.place - b.place; }
            const x = number(a.text), y = number(b.text);
            if (x === null || y === null) { return (x === null) - (y === null) || a.place - b.place; }
            return sign * (x - y) || a.place - b.place;
        });
        body.append(...rows.map((found) => found.row));
    }

    function sortable(table) {
        [...table.tHead.rows[0].cells].forEach((cell, column) => {
            const button = document.createElement("button");
            button.type = "button";
            button.className = "sort";
            button.append(...cell.childNodes);
            cell.append(button);
            cell.setAttribute("aria-sort", "none");
            button.addEventListener("click", () => {
                const falls = cell.getAttribute("aria-sort") === "ascending";
                for (const other of table.tHead.rows[0].cells) { other.setAttribute("aria-sort", "none"); }
                cell.setAttribute("aria-sort", falls ? "descending" : "ascending");
                order(table, column, falls);
            });
        });
    }

    function filterable(table) {
        const label = document.createElement("label"), box = document.createElement("input"), told = document.createElement("span");
        label.className = "table-filter";
        label.append("Filter rows by words ", box, " ", told);
        box.type = "search";
        told.setAttribute("role", "status");
        box.addEventListener("input", () => {
            // subscripts of formulas are found by digits
            const plain = (text) => text.normalize("NFKC").toLowerCase();
            const words = plain(box.value).split(/\s+/).filter(Boolean);
            let shown = 0;
            for (const row of table.tBodies[0].rows) {
                const text = plain(row.textContent);
                row.hidden = !words.every((word) => text.includes(word));
                shown += row.hidden ? 0 : 1;
            }
            told.textContent = words.length ? shown + " of " + table.tBodies[0].rows.length : "";
        });
        table.parentElement.before(label);
    }

    for (const table of document.querySelectorAll("main .scroll > table")) {
        if (!table.tHead || table.tBodies[0].rows.length < FEW) { continue; }
        sortable(table);
        if (table.tBodies[0].rows.length >= LONG) { filterable(table); }
    }

    // the map calls this when it is there: entries of the table are found in it by the beginning of their ids
    window.coevoLink = function (visualizer, ids) {
        const places = new Map(ids.map((id, place) => [id, place]));
        const rows = new Map();
        for (const row of document.querySelectorAll("tr[id^='entry-']")) {
            const place = places.get(row.id.slice(6, 6 + ids[0].length));
            if (place === undefined) { continue; }
            rows.set(place, row);
            const button = document.createElement("button");
            button.type = "button";
            button.className = "show";
            button.textContent = "show";
            button.title = "show in the map and in three dimensions";
            button.addEventListener("click", () => {
                mark(place);
                visualizer.select({ environment: place, structure: place, atom: undefined });
                document.getElementById("coevo-map").scrollIntoView();
            });
            row.cells[row.cells.length - 1].append(" ", button);
        }
        function mark(place) {
            for (const row of rows.values()) { row.classList.remove("chosen"); }
            if (rows.has(place)) { rows.get(place).classList.add("chosen"); }
        }
        const before = visualizer.map.onselect;
        visualizer.map.onselect = (chosen) => { before(chosen); mark(chosen.structure); };
    };
})();
