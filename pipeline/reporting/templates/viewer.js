// Leafs through the slices of a scan: the image, with the outlines of the reference and of the prediction.
(() => {
  "use strict";

  const source = document.getElementById("stacks");
  const dialog = document.getElementById("viewer");
  if (!source || !dialog || typeof dialog.showModal !== "function") return;
  const { classes, colours, paler, stacks } = JSON.parse(source.textContent);
  const part = (name) => dialog.querySelector(`[data-part="${name}"]`);
  const canvas = part("canvas");
  const slider = part("slider");
  const hidden = new Set(); // class ids that were switched off
  const places = new Map(); // case -> [stack, slice]
  stacks.forEach((stack, index) => {
    stack.slices.forEach(([name], slice) => {
      if (!places.has(name) || slice === stack.first) places.set(name, [index, slice]);
    });
  });
  let now = null; // { index, stack, picture, ids }
  let listed = ""; // the class ids whose boxes stand below the picture

  const score = (value) => (value === null ? "–" : (value / 1000).toFixed(3));

  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function load(index) {
    const stack = stacks[index];
    const picture = new Image();
    picture.src = `data:image/webp;base64,${stack.image}`;
    const [ids] = await Promise.all([inflate(bytesOf(stack.masks)), picture.decode()]);
    return { index, stack, picture, ids };
  }

  // Closed lines around the pixels of a class, through the middles of their outer edges.
  function outline(ids, rows, columns, wanted) {
    const inside = (row, column) =>
      row >= 0 && column >= 0 && row < rows && column < columns && ids[row * columns + column] === wanted;
    const ends = new Map(); // corner -> corners that an edge leads to, the class on its right
    const edge = (...corners) => {
      const [from, to] = corners.map(([row, column]) => row * (columns + 1) + column);
      if (!ends.has(from)) ends.set(from, []);
      ends.get(from).push(to);
    };
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        if (!inside(row, column)) continue;
        if (!inside(row - 1, column)) edge([row, column], [row, column + 1]);
        if (!inside(row, column + 1)) edge([row, column + 1], [row + 1, column + 1]);
        if (!inside(row + 1, column)) edge([row + 1, column + 1], [row + 1, column]);
        if (!inside(row, column - 1)) edge([row + 1, column], [row, column]);
      }
    }
    const lines = [];
    while (ends.size) {
      const start = ends.keys().next().value;
      const line = [];
      let from = start;
      do {
        const to = ends.get(from).pop();
        if (!ends.get(from).length) ends.delete(from);
        const [[row, column], [nextRow, nextColumn]] = [from, to].map((corner) => [
          Math.floor(corner / (columns + 1)), corner % (columns + 1)]);
        line.push([(column + nextColumn) / 2, (row + nextRow) / 2]);
        from = to;
      } while (from !== start);
      lines.push(line);
    }
    return lines;
  }

  function stroke(context, lines, [across, down], colour, dash) {
    context.beginPath();
    for (const line of lines) {
      line.forEach(([x, y], place) => context[place ? "lineTo" : "moveTo"](x * across, y * down));
      context.closePath();
    }
    const ratio = window.devicePixelRatio || 1;
    context.setLineDash(dash.map((length) => length * ratio));
    for (const [shade, width] of [["rgba(0, 0, 0, .55)", 3.4], [colour, 1.8]]) {
      context.strokeStyle = shade;
      context.lineWidth = width * ratio;
      context.stroke();
    }
  }

  const tileOf = (which) => {
    const { stack, ids } = now;
    const size = stack.rows * stack.wide;
    const place = Number(slider.value) + (which === "prediction" ? stack.slices.length : 0);
    return ids.subarray(place * size, (place + 1) * size);
  };

  function draw() {
    const { stack, picture } = now;
    const slice = Number(slider.value);
    const box = part("stage").getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    const zoom = Math.min(box.width / stack.wide, box.height / (stack.rows * stack.aspect));
    canvas.style.width = `${stack.wide * zoom}px`;
    canvas.style.height = `${stack.rows * stack.aspect * zoom}px`;
    canvas.width = Math.round(stack.wide * zoom * ratio);
    canvas.height = Math.round(stack.rows * stack.aspect * zoom * ratio);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(
      picture, (slice % stack.columns) * stack.wide, Math.floor(slice / stack.columns) * stack.rows, stack.wide, stack.rows,
      0, 0, canvas.width, canvas.height);
    const scale = [canvas.width / stack.wide, canvas.height / stack.rows];
    const shown = new Set();
    for (const [which, palette, dash] of [["reference", colours, []], ["prediction", paler, [5, 4]]]) {
      const ids = tileOf(which);
      for (const id of new Set(ids)) {
        if (id === 0) continue;
        shown.add(id);
        if (hidden.has(id) || !part(which).checked) continue;
        stroke(context, outline(ids, stack.rows, stack.wide, id), scale, palette[id], dash);
      }
    }
    mark(context, stack.letters, ratio);
    tell(slice, [...shown].sort((one, other) => one - other));
  }

  function mark(context, letters, ratio) {
    if (!letters) return;
    const { width, height } = canvas;
    const places = [[10, height / 2], [width / ratio - 10, height / 2], [width / 2, 12], [width / 2, height / ratio - 10]];
    context.font = `bold ${13 * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.setLineDash([]);
    letters.forEach((letter, place) => {
      const [x, y] = place < 2 ? [places[place][0] * ratio, places[place][1]] : [places[place][0], places[place][1] * ratio];
      context.lineWidth = 3 * ratio;
      context.strokeStyle = "#000";
      context.strokeText(letter, x, y);
      context.fillStyle = "#ffe27a";
      context.fillText(letter, x, y);
    });
  }

  function tell(slice, shown) {
    const { stack } = now;
    const [name, number, dice] = stack.slices[slice];
    part("title").textContent = name;
    const of = `${slice + 1} of ${stack.slices.length}`;
    const size = stack.factor > 1 ? `, shown at 1/${stack.factor} of its size` : "";
    part("place").textContent = (number === null ? `slice ${of}` : `slice ${number} (${of})`)
      + (stack.name === name ? "" : ` of scan ${stack.name}`) + size;
    if (listed === shown.join() && listed) { // only the figures change: a box that has the focus keeps it
      shown.forEach((id, place) => { part("classes").querySelectorAll("b")[place].textContent = score(dice[id]); });
      return;
    }
    listed = shown.join();
    const items = shown.map((id) => {
      const item = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: !hidden.has(id) });
      box.addEventListener("change", () => { hidden[box.checked ? "delete" : "add"](id); draw(); });
      const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
      swatch.style.background = colours[id];
      const figure = document.createElement("b");
      figure.textContent = score(dice[id]);
      item.append(box, swatch, classes[id], figure);
      return item;
    });
    if (!items.length) items.push("Neither mask shows a class here.");
    part("classes").replaceChildren(...items);
  }

  async function open(index, slice) {
    const stack = stacks[index];
    if (!dialog.open) dialog.showModal();
    part("notice").textContent = "";
    try {
      now = now?.index === index ? now : await load(index);
    } catch (error) {
      part("notice").textContent = `This browser cannot show the slices (${error.message}).`;
      return;
    }
    slider.max = stack.slices.length - 1;
    slider.value = slice;
    part("slices").hidden = stack.slices.length < 2;
    draw();
  }

  const step = (by) => {
    if (!now) return;
    slider.value = Number(slider.value) + by;
    draw();
  };
  const leaf = (by) => {
    if (!now) return;
    const index = (now.index + by + stacks.length) % stacks.length;
    open(index, stacks[index].first);
  };

  const redraw = () => { if (now) draw(); };
  slider.addEventListener("input", redraw);
  part("reference").addEventListener("change", redraw);
  part("prediction").addEventListener("change", redraw);
  part("back").addEventListener("click", () => step(-1));
  part("forth").addEventListener("click", () => step(1));
  part("before").addEventListener("click", () => leaf(-1));
  part("after").addEventListener("click", () => leaf(1));
  part("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("pointerdown", ({ clientX, clientY }) => { // beside the window, not on its margins
    const { left, right, top, bottom } = dialog.getBoundingClientRect();
    if (clientX < left || clientX > right || clientY < top || clientY > bottom) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (by && now) { event.preventDefault(); step(by); }
  });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); step(Math.sign(event.deltaY)); }, { passive: false });
  window.addEventListener("resize", () => { if (dialog.open) redraw(); });

  for (const place of document.querySelectorAll("[data-case]")) {
    const found = places.get(place.dataset.case);
    if (!found) continue;
    const wanted = place.dataset.slice;
    const [index, first] = found;
    const at = wanted === undefined ? -1
      : stacks[index].slices.findIndex(([name, number]) => name === place.dataset.case && String(number) === wanted);
    const button = Object.assign(document.createElement("button"), { type: "button", className: "opens" });
    button.append(...(place.dataset.label ? [place.dataset.label] : place.childNodes));
    button.addEventListener("click", () => open(index, at < 0 ? first : at));
    place.append(button);
  }
  for (const place of document.querySelectorAll("[data-scan-hint]")) place.hidden = false;
})();
