"use strict";
(async () => {
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const byId = (id) => document.getElementById(id);
  const canvas = byId("canvas");
  const TINTS = { grey: [255, 255, 255], ...data.colours };
  const BACKDROP = "#181818"; // exactly neutral, and painted so that a saved view has it too
  const GAP = 24; // between the two pictures of the side-by-side view, in picture pixels
  const MOST_SAVED = 64e6; // pixels of a saved view
  const view = { zoom: 1, x: 0, y: 0, fitted: true };
  // What is drawn on: the canvas, or for a moment the picture that is saved. Lengths are those of the page.
  const onCanvas = () => ({
    context: canvas.getContext("2d"), width: canvas.clientWidth, height: canvas.clientHeight,
    ratio: window.devicePixelRatio || 1,
  });
  let paper = onCanvas();
  let flickerShowsMoving = false;
  let flickerTimer = 0;
  let laidOutForSide = false;

  // ---- pixels -------------------------------------------------------------------------------------------------

  async function pixelsOf(address, width, height) {
    const image = new Image();
    image.src = address;
    await image.decode();
    const surface = new OffscreenCanvas(width, height);
    const pen = surface.getContext("2d", { willReadFrequently: true });
    pen.drawImage(image, 0, 0, width, height);
    return pen.getImageData(0, 0, width, height).data;
  }

  async function drawable(address) {
    if (!address) return null;
    const image = new Image();
    image.src = address;
    await image.decode();
    return image;
  }

  function lookOf(role) {
    const black = Number(byId(`${role}-black`).value);
    const white = Math.max(black + 1, Number(byId(`${role}-white`).value));
    const invert = byId(`${role}-invert`).checked;
    const ramp = new Uint8ClampedArray(256);
    for (let value = 0; value < 256; value += 1) {
      const share = Math.min(1, Math.max(0, (value - black) / (white - black)));
      ramp[value] = Math.round(255 * (invert ? 1 - share : share));
    }
    const colour = byId(`${role}-colour`).value;
    return { ramp, colour, key: [black, white, invert, colour].join() };
  }

  // Further channels of the moving image: each in its own colour, with the contrast that it was stored with.
  const PLAIN = Uint8ClampedArray.from({ length: 256 }, (_, value) => value);
  const further = () => [...document.querySelectorAll("input[data-layer]:checked")]
    .map((box) => Number(box.dataset.layer))
    .filter((number) => number !== Number(byId("moving-channel").value));

  // How a picture is painted: "opaque" covers what lies below, "bright" covers it as far as the pixel is bright.
  function paint(side, source, pick, look, kind, covered) {
    const { width, height } = side;
    const out = new ImageData(width, height);
    const target = out.data;
    const own = look.colour === "own" && pick === null;
    const [red, green, blue] = TINTS[look.colour] || TINTS.grey;
    for (let i = 0; i < source.length; i += 4) {
      let light;
      if (own) {
        target[i] = look.ramp[source[i]];
        target[i + 1] = look.ramp[source[i + 1]];
        target[i + 2] = look.ramp[source[i + 2]];
        light = Math.max(target[i], target[i + 1], target[i + 2]);
      } else {
        const value = pick === null ? Math.round((source[i] + source[i + 1] + source[i + 2]) / 3) : source[i + pick];
        light = look.ramp[value];
        const gain = kind === "bright" ? 1 : light / 255;
        target[i] = red * gain;
        target[i + 1] = green * gain;
        target[i + 2] = blue * gain;
      }
      const visible = covered ? covered[i] > 127 : true;
      target[i + 3] = visible ? (kind === "bright" ? light : 255) : 0;
    }
    const surface = new OffscreenCanvas(width, height);
    surface.getContext("2d").putImageData(out, 0, 0);
    return surface;
  }

  const sources = { fixed: new Map(), moving: new Map() };
  const painted = { fixed: new Map(), moving: new Map() };
  const covered = data.covered ? await pixelsOf(data.covered, data.moving.width, data.moving.height) : null;
  const layers = {
    fixedIgnored: await drawable(data.fixed.ignored),
    movingIgnored: await drawable(data.moving.ignored),
    error: await drawable(data.error && data.error.picture),
  };

  // What the linear map alone makes of the channel used, and the same channel with the field.
  const straight = data.straight && {
    number: data.moving.start,
    pixels: await pixelsOf(data.straight.picture, data.moving.width, data.moving.height),
    covered: await pixelsOf(data.straight.covered, data.moving.width, data.moving.height),
    bent: await pixelsOf(
      data.moving.pictures[data.moving.layers[data.moving.start].picture], data.moving.width, data.moving.height,
    ),
    painted: new Map(),
  };

  function surfaceOfField(withField, kind) {
    const look = lookOf("moving");
    const known = straight.painted.get(withField);
    const key = [kind, look.key].join();
    if (known && known.key === key) return known.surface;
    const { pick } = data.moving.layers[straight.number];
    const pixels = withField ? straight.bent : straight.pixels;
    const surface = paint(data.moving, pixels, pick, look, kind, withField ? covered : straight.covered);
    straight.painted.set(withField, { key, surface });
    return surface;
  }

  async function load(role) {
    const side = data[role];
    const numbers = [Number(byId(`${role}-channel`).value), ...(role === "moving" ? further() : [])];
    const wanted = new Set(numbers.map((number) => side.layers[number].picture));
    for (const picture of wanted) {
      if (!sources[role].has(picture)) {
        sources[role].set(picture, await pixelsOf(side.pictures[picture], side.width, side.height));
      }
    }
    // A decoded picture takes four bytes a pixel, so only a few are kept beside those that are shown.
    for (const picture of sources[role].keys()) {
      if (sources[role].size <= 3 || wanted.has(picture)) continue;
      sources[role].delete(picture);
    }
  }

  function surfaceOf(role, kind = "opaque") {
    const side = data[role];
    const number = Number(byId(`${role}-channel`).value);
    const { picture, pick } = side.layers[number];
    const look = lookOf(role);
    const key = [number, look.key].join();
    const known = painted[role].get(kind);
    if (known && known.key === key) return known.surface;
    const source = sources[role].get(picture);
    if (!source) return known ? known.surface : null;
    const surface = paint(side, source, pick, look, kind, role === "moving" ? covered : null);
    painted[role].set(kind, { key, surface });
    return surface;
  }

  function surfaceOfFurther(number, kind) {
    const { picture, pick, colour } = data.moving.layers[number];
    const name = [number, kind].join();
    const source = sources.moving.get(picture);
    if (!painted.moving.has(name) && source) {
      painted.moving.set(name, paint(data.moving, source, pick, { ramp: PLAIN, colour }, kind, covered));
    }
    return painted.moving.get(name);
  }

  // ---- where things lie -----------------------------------------------------------------------------------------

  const modeNow = () => document.querySelector('input[name="mode"]:checked').value;

  // Panels are pictures placed in one plane; the view maps the plane to the screen.
  function panels() {
    const { fixed, moving } = data;
    if (modeNow() !== "side") return [{ role: "fixed", x: 0, y: 0, width: fixed.width, height: fixed.height, grow: 1 }];
    const grow = data.registered ? 1 : fixed.height / moving.height;
    return [
      { role: "fixed", x: 0, y: 0, width: fixed.width, height: fixed.height, grow: 1 },
      { role: "moving", x: fixed.width + GAP, y: 0, width: moving.width * grow, height: moving.height * grow, grow },
    ];
  }

  function fit() {
    const all = panels();
    const width = Math.max(...all.map((panel) => panel.x + panel.width));
    const height = Math.max(...all.map((panel) => panel.y + panel.height));
    view.zoom = Math.min(paper.width / width, paper.height / height) * 0.98;
    view.x = (paper.width - width * view.zoom) / 2;
    view.y = (paper.height - height * view.zoom) / 2;
    view.fitted = true;
    draw();
  }

  function zoomBy(factor, x = paper.width / 2, y = paper.height / 2) {
    const next = Math.min(60, Math.max(0.02, view.zoom * factor));
    view.x = x - ((x - view.x) * next) / view.zoom;
    view.y = y - ((y - view.y) * next) / view.zoom;
    view.zoom = next;
    view.fitted = false;
    draw();
  }

  function panBy(x, y) {
    view.x += x;
    view.y += y;
    view.fitted = false;
    draw();
  }

  // ---- drawing --------------------------------------------------------------------------------------------------

  function inPlane() {
    const { context, ratio } = paper;
    context.setTransform(ratio * view.zoom, 0, 0, ratio * view.zoom, ratio * view.x, ratio * view.y);
    context.imageSmoothingEnabled = view.zoom < 2;
    context.imageSmoothingQuality = "high";
  }

  function onScreen() {
    paper.context.setTransform(paper.ratio, 0, 0, paper.ratio, 0, 0);
  }

  function clear() {
    paper.context.fillStyle = BACKDROP;
    paper.context.fillRect(0, 0, paper.width, paper.height);
  }

  function put(surface, panel) {
    if (surface) paper.context.drawImage(surface, panel.x, panel.y, panel.width, panel.height);
  }

  // All moving channels that are shown, on a ground of none of them.
  function putMoving(panel) {
    put(surfaceOf("moving"), panel);
    paper.context.globalCompositeOperation = "lighter";
    for (const number of further()) put(surfaceOfFurther(number, "opaque"), panel);
    paper.context.globalCompositeOperation = "source-over";
  }

  const dividerAt = () => (paper.width * Number(byId("divider").value)) / 100;

  function drawOverlay(panel, surface = (kind) => surfaceOf("moving", kind), others = further()) {
    const { context } = paper;
    const blend = byId("blend").value;
    const kind = blend === "bright" ? "bright" : "opaque";
    put(surfaceOf("fixed"), panel);
    context.globalAlpha = Number(byId("opacity").value) / 100;
    if (blend === "screen") context.globalCompositeOperation = "screen";
    put(surface(kind), panel);
    for (const number of others) put(surfaceOfFurther(number, kind), panel);
    context.globalAlpha = 1;
    context.globalCompositeOperation = "source-over";
  }

  function drawSwipe(panel) {
    const { context } = paper;
    put(surfaceOf("fixed"), panel);
    context.save();
    onScreen();
    context.beginPath();
    context.rect(dividerAt(), 0, paper.width, paper.height);
    context.clip();
    clear();
    inPlane();
    putMoving(panel);
    context.restore();
  }

  function drawChecker(panel) {
    const tile = Math.max(2, Math.round((data.fixed.width * Number(byId("tile").value)) / 100));
    const stamp = new OffscreenCanvas(2 * tile, 2 * tile);
    const pen = stamp.getContext("2d");
    pen.fillRect(0, 0, tile, tile);
    pen.fillRect(tile, tile, tile, tile);
    const board = new OffscreenCanvas(panel.width, panel.height);
    const brush = board.getContext("2d");
    const moving = surfaceOf("moving");
    if (moving) brush.drawImage(moving, 0, 0);
    brush.globalCompositeOperation = "lighter";
    for (const surface of further().map((number) => surfaceOfFurther(number, "opaque"))) {
      if (surface) brush.drawImage(surface, 0, 0);
    }
    brush.globalCompositeOperation = "destination-in";
    brush.fillStyle = brush.createPattern(stamp, "repeat");
    brush.fillRect(0, 0, panel.width, panel.height);
    put(surfaceOf("fixed"), panel);
    put(board, panel);
  }

  function drawOutline() {
    const { context } = paper;
    for (const [colour, dash] of [["#000", []], ["#fff", [6, 6]]]) {
      context.beginPath();
      for (const line of data.outline) {
        line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.closePath();
      }
      context.setLineDash(dash.map((part) => part / view.zoom));
      context.lineWidth = 1.6 / view.zoom;
      context.strokeStyle = colour;
      context.stroke();
    }
    context.setLineDash([]);
  }

  function drawGrid() {
    const { context } = paper;
    const styles = [["smooth", "#000", 2.4], ["supported", "#000", 3], ["smooth", "#96783c", 1], ["supported", "#ffc800", 1.4]];
    for (const [kind, colour, width] of styles) {
      context.beginPath();
      for (const line of data.grid[kind]) line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.lineWidth = width / view.zoom;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  function drawLandmarks() {
    const { context } = paper;
    const { there, moved, times } = data.landmarks;
    const size = 7 / view.zoom;
    for (const [colour, width] of [["#000", 4.5], ["#ffe840", 2]]) {
      context.beginPath();
      there.forEach(([x, y], i) => {
        context.moveTo(x + size, y);
        context.arc(x, y, size, 0, 2 * Math.PI);
        context.moveTo(x, y);
        context.lineTo(x + times * (moved[i][0] - x), y + times * (moved[i][1] - y));
      });
      context.lineWidth = width / view.zoom;
      context.strokeStyle = colour;
      context.stroke();
    }
  }

  // Numbers are those of the table, as large as all letters; of more than a few they would hide the images.
  function drawNumbers() {
    if (data.landmarks.there.length > 60) return;
    data.landmarks.there.forEach(([x, y], i) => {
      tag(String(i + 1), x * view.zoom + view.x + 9, y * view.zoom + view.y - 30);
    });
  }

  function tag(words, x, y, align = "left") {
    const { context } = paper;
    context.font = "13px system-ui, sans-serif";
    const width = context.measureText(words).width + 16;
    const left = align === "right" ? x - width : x;
    context.fillStyle = "rgba(0, 0, 0, 0.66)";
    context.fillRect(left, y, width, 26);
    context.fillStyle = "#fff";
    context.textBaseline = "middle";
    context.fillText(words, left + 8, y + 13);
  }

  function niceLength(longest) {
    const power = 10 ** Math.floor(Math.log10(longest));
    return [5, 2, 1].map((step) => step * power).find((length) => length <= longest * (1 + 1e-9)) || power;
  }

  // An instrument's own data bar stays legible: the scale bar ends above it, wherever it is on the screen.
  function footOf(panel) {
    const end = (panel.y + data[panel.role].below * panel.grow) * view.zoom + view.y;
    const foot = paper.height - 12;
    return end > 60 ? Math.min(foot, end - 8) : foot;
  }

  function drawScaleBar(side, grow, left, bottom) {
    const { context } = paper;
    const unitPerScreen = side.unit_per_pixel / (view.zoom * grow);
    const length = niceLength(Math.max(60, Math.min(180, paper.width / 4)) * unitPerScreen);
    const width = length / unitPerScreen;
    const short = (value) => String(Number(value.toPrecision(6)));
    const words = side.symbol === "µm" && length < 1 ? `${short(length * 1000)} nm` : `${short(length)} ${side.symbol}`;
    context.font = "600 13px system-ui, sans-serif";
    const box = Math.max(width, context.measureText(words).width) + 20;
    context.fillStyle = "rgba(0, 0, 0, 0.66)";
    context.fillRect(left, bottom - 40, box, 40);
    context.fillStyle = "#fff";
    context.fillRect(left + 10, bottom - 12, width, 4);
    context.textBaseline = "alphabetic";
    context.fillText(words, left + 10, bottom - 20);
    return words;
  }

  function drawNotes(mode, all) {
    const { context } = paper;
    const name = (role) => `${role === "fixed" ? "Fixed" : "Moving"}: ${data[role].name}`;
    const width = paper.width;
    const bars = [];
    if (mode === "swipe") {
      context.fillStyle = "#fff";
      context.fillRect(dividerAt() - 1, 0, 2, paper.height);
      context.beginPath();
      context.arc(dividerAt(), paper.height / 2, 9, 0, 2 * Math.PI);
      context.fill();
      tag("Fixed", 12, 12);
      tag("Moving", width - 12, 12, "right");
    }
    if (mode === "field") tag(flickerShowsMoving ? "With the field" : "Linear map alone", 12, 12);
    if (byId("show-grid") && byId("show-grid").checked && mode !== "side") {
      tag(`Grid: displacements × ${data.grid.times}`, width - 12, paper.height - 38, "right");
    }
    if (mode === "flicker") tag(name(flickerShowsMoving ? "moving" : "fixed"), 12, 12);
    all.forEach((panel, i) => {
      const left = i ? Math.max(12, panel.x * view.zoom + view.x + 8) : 12;
      if (mode === "side") tag(name(panel.role), Math.max(12, panel.x * view.zoom + view.x + 8), 12);
      if (i === 0 || !data.registered) {
        bars.push(drawScaleBar(data[panel.role], panel.grow, left, footOf(panel)));
      }
    });
    const words = `${name("fixed")}, ${name("moving")}; mode ${mode}; scale bar ${bars.join(", ")}`;
    if (canvas.getAttribute("aria-label") !== words) canvas.setAttribute("aria-label", words);
  }

  function draw() {
    const mode = modeNow();
    const all = panels();
    onScreen();
    clear();
    inPlane();
    if (mode === "overlay") drawOverlay(all[0]);
    else if (mode === "swipe") drawSwipe(all[0]);
    else if (mode === "checker") drawChecker(all[0]);
    else if (mode === "field") {
      drawOverlay(all[0], (kind) => surfaceOfField(flickerShowsMoving, kind), []);
    } else if (mode === "flicker" && flickerShowsMoving) putMoving(all[0]);
    else if (mode === "flicker") put(surfaceOf("fixed"), all[0]);
    else all.forEach((panel) => (panel.role === "moving" ? putMoving(panel) : put(surfaceOf("fixed"), panel)));
    const { context } = paper;
    const shows = (id) => byId(id) && byId(id).checked;
    if (shows("show-error")) {
      context.globalAlpha = 0.6;
      put(layers.error, all[0]);
      context.globalAlpha = 1;
    }
    if (shows("show-ignored")) put(layers.fixedIgnored, all[0]);
    if (!data.registered) all.forEach((panel) => put(layers[`${panel.role}Ignored`], panel));
    if (shows("show-outline")) drawOutline();
    if (shows("show-grid")) drawGrid();
    if (shows("show-landmarks")) drawLandmarks();
    onScreen();
    if (shows("show-landmarks")) drawNumbers();
    drawNotes(mode, all);
    const perPixel = (view.zoom * data.fixed.width) / data.fixed.full_width;
    byId("zoom-level").textContent = `${Math.round(100 * perPixel)} %`;
  }

  // ---- controls -------------------------------------------------------------------------------------------------

  function resize() {
    paper = onCanvas();
    canvas.width = Math.round(paper.width * paper.ratio);
    canvas.height = Math.round(paper.height * paper.ratio);
    if (view.fitted) fit();
    else draw();
  }

  function startFlicker() {
    clearInterval(flickerTimer);
    if (!["flicker", "field"].includes(modeNow())) return;
    flickerTimer = setInterval(() => {
      flickerShowsMoving = !flickerShowsMoving;
      draw();
    }, 1000 / Number(byId("speed").value));
  }

  function changeMode() {
    const mode = modeNow();
    document.querySelectorAll("[data-mode]").forEach((row) => { row.hidden = !row.dataset.mode.split(" ").includes(mode); });
    flickerShowsMoving = false;
    startFlicker();
    // Only the side-by-side view lays the pictures out differently; otherwise the place looked at is kept.
    const wasSide = laidOutForSide;
    laidOutForSide = mode === "side";
    if (view.fitted || wasSide !== laidOutForSide) fit();
    else draw();
  }

  // Pointers: one drags the picture or the divider, two pinch.
  const pointers = new Map();
  let dragsDivider = false;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const nearDivider = (x) => modeNow() === "swipe" && Math.abs(x - dividerAt()) < 14;

  function moveDivider(x) {
    byId("divider").value = (100 * x) / paper.width;
    draw();
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    dragsDivider = pointers.size === 1 && nearDivider(place(event)[0]);
    canvas.classList.toggle("grabbing", !dragsDivider);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    canvas.classList.toggle("divider", dragsDivider || nearDivider(x));
    const before = pointers.get(event.pointerId);
    if (!before) return;
    pointers.set(event.pointerId, [x, y]);
    if (dragsDivider) moveDivider(x);
    else if (pointers.size === 1) panBy(x - before[0], y - before[1]);
    else {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]);
      zoomBy(apart([x, y]) / Math.max(1, apart(before)), other[0], other[1]);
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      pointers.delete(event.pointerId);
      dragsDivider = false;
      canvas.classList.remove("grabbing");
    });
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY / 500), ...place(event));
  }, { passive: false });
  canvas.addEventListener("dblclick", fit);
  canvas.addEventListener("keydown", (event) => {
    const actions = {
      ArrowLeft: () => panBy(40, 0), ArrowRight: () => panBy(-40, 0), ArrowUp: () => panBy(0, 40),
      ArrowDown: () => panBy(0, -40), "+": () => zoomBy(1.25), "=": () => zoomBy(1.25), "-": () => zoomBy(0.8), 0: fit,
    };
    if (event.ctrlKey || event.metaKey || !actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });
  byId("zoom-in").addEventListener("click", () => zoomBy(1.4));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.4));
  byId("fit").addEventListener("click", fit);
  // What of the pictures is in view, drawn anew with at least every pixel that the report holds of it.
  function saved() {
    const all = panels();
    const right = Math.max(...all.map((panel) => panel.x + panel.width)) * view.zoom + view.x;
    const low = Math.max(...all.map((panel) => panel.y + panel.height)) * view.zoom + view.y;
    const [left, top] = [Math.max(0, view.x), Math.max(0, view.y)];
    const [width, height] = [Math.min(canvas.clientWidth, right) - left, Math.min(canvas.clientHeight, low) - top];
    if (!(width > 1 && height > 1)) return canvas;
    const whole = Math.sqrt(MOST_SAVED / (width * height));
    const ratio = Math.min(Math.max(paper.ratio, 1 / view.zoom), whole);
    const sheet = document.createElement("canvas");
    sheet.width = Math.round(width * ratio);
    sheet.height = Math.round(height * ratio);
    const before = { ...view };
    const divider = byId("divider").value;
    byId("divider").value = (100 * (dividerAt() - left)) / width;
    paper = { context: sheet.getContext("2d"), width, height, ratio };
    Object.assign(view, { x: view.x - left, y: view.y - top });
    draw();
    Object.assign(view, before);
    paper = onCanvas();
    byId("divider").value = divider;
    draw();
    return sheet;
  }

  byId("save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.download = `${data.file}_${modeNow()}.png`;
    link.href = saved().toDataURL("image/png");
    link.click();
  });
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("controls").addEventListener("input", async (event) => {
    if (event.target.name === "mode") { changeMode(); return; }
    if (event.target.id === "speed") startFlicker();
    if (event.target.id === "show-error") byId("error-legend").hidden = !event.target.checked;
    if (event.target.dataset.layer) await load("moving");
    if (event.target.id.endsWith("-channel")) {
      const role = event.target.id.split("-")[0];
      await load(role);
      // A channel has the same colour wherever it is shown.
      if (role === "moving") byId("moving-colour").value = data.moving.layers[Number(event.target.value)].colour;
    }
    draw();
  });
  byId("copy").addEventListener("click", async () => {
    const text = byId("methods-text");
    try {
      await navigator.clipboard.writeText(text.textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(text);
      byId("copied").textContent = "Selected: press Ctrl+C.";
    }
  });

  byId("fixed-colour").value = data.fixed.rgb ? "own" : data.look.fixed;
  byId("moving-colour").value = data.moving.rgb ? "own" : data.look.moving;
  await Promise.all([load("fixed"), load("moving")]);
  changeMode();
  new ResizeObserver(resize).observe(canvas);
  canvas.setAttribute("aria-busy", "false");
})();
