// The report of a model. Names come from files: they are text, never HTML.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const photos = data.photos;
const [BAD, GOOD, OPEN, DOUBT, ACCENT, INK, SOFT, PAPER, FONTS] = ["bad", "good", "open", "doubt", "accent", "ink", "soft", "paper", "fonts"]
  .map(name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
const VERIFIED = [BAD, GOOD, OPEN];  // rejected, verified, not verified yet
const SCALE = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const ERROR_UNIT = 0.02, FULL = 65535, MOST_ROWS = 400, MOST_LINKS = 2500, MANY = 200, UNKNOWN = 255;
// Without the bar of buttons: one of them would send the data to a server of Plotly's.
const PLAIN = { displayModeBar: false, responsive: true };
const FONT = { family: FONTS, size: 12, color: INK };

const find = id => document.getElementById(id);
const shown = value => value == null ? "" : String(value);
const fixed = (value, digits) => value == null ? "" : value.toFixed(digits);
// Plotly takes its texts for HTML.
const plotText = text => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function make(kind, text = "", classes = "") {
  const node = document.createElement(kind);
  node.textContent = text;
  if (classes) node.className = classes;
  return node;
}

function unpacked(text, Kind) {
  const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

function colourAt(share) {
  const place = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1), low = Math.min(Math.floor(place), SCALE.length - 2);
  const mixed = SCALE[low].map((value, k) => Math.round(value + (place - low) * (SCALE[low + 1][k] - value)));
  return `rgb(${mixed.join(",")})`;
}
const lengthColour = length => colourAt(Math.log2(Math.max(length, 2) / 2) / 4);  // 2 to 32 photos
const errorColour = error => error === UNKNOWN ? "#888" : colourAt(error * ERROR_UNIT / 2);  // 0 to 2 px

function layout(more) {
  return Object.assign({ margin: { l: 50, r: 14, t: 30, b: 42 }, font: FONT, paper_bgcolor: PAPER, plot_bgcolor: PAPER }, more);
}

// Pictures of photos

const pictures = new Map();
function picture(number) {
  if (!pictures.has(number)) {
    const photo = photos[number];
    pictures.set(number, new Promise(done => {
      if (!photo.image) return done(null);
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = () => done(null);
      image.src = "data:image/jpeg;base64," + photo.image;
    }));
  }
  return pictures.get(number);
}

function paint(pen, image, photo, x, y, width, height) {
  if (image) return pen.drawImage(image, x, y, width, height);
  pen.fillStyle = "#e7ebef";
  pen.fillRect(x, y, width, height);
  pen.fillStyle = SOFT;
  pen.textAlign = "center";
  pen.font = "13px sans-serif";
  pen.fillText(photo.problem || "no photo", x + width / 2, y + height / 2, width - 10);
  pen.textAlign = "start";
}

const PHOTO_WIDTH = 640;
async function showPhoto(number) {
  const photo = photos[number], panel = find("chosen-photo"), image = await picture(number);
  panel.replaceChildren(make("p", photo.name, "name"));
  const tools = make("div", "", "tools"), label = make("label", "keypoints "), choice = make("select");
  for (const [value, text] of [["lengths", "by track length"], ["errors", "by reprojection error"], ["none", "hidden"]])
    choice.append(Object.assign(make("option", text), { value }));
  label.append(choice);
  tools.append(label);
  const canvas = make("canvas", "", "photo");
  canvas.width = PHOTO_WIDTH;
  canvas.height = Math.round(PHOTO_WIDTH * photo.size[1] / photo.size[0]);
  const draw = () => {
    const pen = canvas.getContext("2d");
    paint(pen, image, photo, 0, 0, canvas.width, canvas.height);
    if (photo.posed && choice.value !== "none") drawSeen(pen, photo, choice.value, canvas);
  };
  choice.onchange = draw;
  draw();
  panel.append(...(photo.posed ? [tools, canvas, legend(choice)] : [canvas]), make("p", told(photo), "note"));
  for (const row of document.querySelectorAll("#photo-table tbody tr"))
    row.classList.toggle("chosen", Number(row.dataset.number) === number);
  panel.dataset.number = number;
}

function drawSeen(pen, photo, kind, canvas) {
  const places = unpacked(photo.seen, Uint16Array), values = unpacked(photo[kind], Uint8Array);
  pen.strokeStyle = "rgba(255, 255, 255, 0.75)";
  pen.lineWidth = 0.7;
  values.forEach((value, k) => {
    pen.fillStyle = kind === "lengths" ? lengthColour(value) : errorColour(value);
    pen.beginPath();
    pen.arc(places[2 * k] / FULL * canvas.width, places[2 * k + 1] / FULL * canvas.height, 2.6, 0, 7);
    pen.fill();
    pen.stroke();
  });
}

function legend(choice) {
  const note = make("p", "", "note");
  const write = () => {
    note.replaceChildren();
    const steps = choice.value === "lengths" ? [2, 4, 8, 16, 32].map(n => [lengthColour(n), `${n} photos`])
      : choice.value === "errors" ? [0, 0.5, 1, 1.5, 2].map(e => [errorColour(e / ERROR_UNIT), `${e} px`]) : [];
    for (const [colour, text] of steps) {
      const key = make("i", "", "key");
      key.style.background = colour;
      note.append(key, text + "  ");
    }
  };
  choice.addEventListener("change", write);
  write();
  return note;
}

function told(photo) {
  const parts = [`${photo.pixels[0]}x${photo.pixels[1]} pixels`];
  if (photo.posed) parts.push(`${photo.points} points`, `error ${fixed(photo.error, 2)} px`, `focal length ${fixed(photo.focal, 0)} px`,
    `camera at ${photo.centre.map(value => value.toPrecision(4)).join(", ")}`);
  else if (data.model) parts.push("not registered" + (photo.reason ? `: ${photo.reason}` : ""));
  return parts.join("; ");
}

// The model

let pointTrace = 0, cameraTraces = [], linkTrace = -1;

function pointColours(kind) {
  const model = data.model;
  if (kind === "photo") {
    const bytes = unpacked(model.colours, Uint8Array);
    return Array.from({ length: bytes.length / 3 }, (_, k) => `rgb(${bytes[3 * k]},${bytes[3 * k + 1]},${bytes[3 * k + 2]})`);
  }
  return Array.from(unpacked(model[kind], Uint8Array), kind === "lengths" ? lengthColour : errorColour);
}

function axis(places, k, step) {
  return Float32Array.from({ length: places.length / step }, (_, row) => places[row * step + k]);
}

// Three coordinates of the ends of all lines, and the photo that each belongs to: a click on a line is one on its camera.
function frustums(numbers) {
  const lines = [[], [], []], owners = [];
  for (const number of numbers) {
    const photo = photos[number];
    for (const place of [0, 1, 2, 3].flatMap(k => [photo.centre, photo.corners[k], photo.corners[(k + 1) % 4], null])) {
      for (let k = 0; k < 3; k++) lines[k].push(place ? place[k] : null);
      owners.push(number);
    }
  }
  return [...lines, owners];
}

function links() {
  const lines = [[], [], []];
  const posed = pairs.filter(pair => pair.inliers > 0 && photos[pair.first].posed && photos[pair.second].posed);
  for (const pair of posed.sort((a, b) => b.inliers - a.inliers).slice(0, MOST_LINKS))
    for (const place of [photos[pair.first].centre, photos[pair.second].centre, null])
      for (let k = 0; k < 3; k++) lines[k].push(place ? place[k] : null);
  return lines;
}

function showModel() {
  if (!data.model) return void (find("model").querySelector(".tools").hidden = true, find("view").hidden = true);
  const places = unpacked(data.model.points, Float32Array), numbers = photos.flatMap((photo, k) => photo.posed ? [k] : []);
  const posed = numbers.map(number => photos[number]), [x, y, z, owners] = frustums(numbers), [lx, ly, lz] = links();
  const line = (x, y, z, colour, width, visible) => ({ type: "scatter3d", mode: "lines", x, y, z, visible, hoverinfo: "skip", line: { color: colour, width } });
  const traces = [
    { type: "scatter3d", mode: "markers", x: axis(places, 0, 3), y: axis(places, 1, 3), z: axis(places, 2, 3), hoverinfo: "skip", marker: { size: 2, color: pointColours("photo"), line: { width: 0 } } },
    { ...line(x, y, z, BAD, 2, true), customdata: owners, text: owners.map(number => plotText(photos[number].name)), hoverinfo: "text", hovertemplate: "%{text}<extra></extra>" },
    { type: "scatter3d", mode: "markers", x: posed.map(p => p.centre[0]), y: posed.map(p => p.centre[1]), z: posed.map(p => p.centre[2]), customdata: numbers,
      text: posed.map(p => plotText(p.name)), hovertemplate: "%{text}<extra></extra>", marker: { size: 5, color: BAD, line: { width: 0 } } },
    line(lx, ly, lz, ACCENT, 1, false),
  ];
  [pointTrace, cameraTraces, linkTrace] = [0, [1, 2], 3];
  const [low, high] = data.model.box, side = Math.max(...high.map((value, k) => value - low[k]));
  const metric = data.model.unit === "m";
  const bounds = k => ({ range: [low[k], high[k]], showgrid: metric, zeroline: false, showspikes: false, showticklabels: metric, title: { text: !metric ? "" : data.model.upright ? ["east, m", "north, m", "up, m"][k] : "m" } });
  const ratio = Object.fromEntries(["x", "y", "z"].map((name, k) => [name, 1.4 * (high[k] - low[k]) / side]));
  const scene = { xaxis: bounds(0), yaxis: bounds(1), zaxis: bounds(2), aspectmode: "manual", aspectratio: ratio, dragmode: "turntable", camera: firstView(posed, ratio.z) };
  Plotly.newPlot("view", traces, layout({ scene, showlegend: false, margin: { l: 0, r: 0, t: 0, b: 0 }, hovermode: "closest", uirevision: 1 }), PLAIN);
  find("view").on("plotly_click", event => { const number = event.points[0].customdata; if (number != null) showPhoto(number); });
  find("point-colours").onchange = event => Plotly.restyle("view", { "marker.color": [pointColours(event.target.value)] }, [pointTrace]);
  find("point-size").oninput = event => Plotly.restyle("view", { "marker.size": Number(event.target.value) }, [pointTrace]);
  find("show-cameras").onchange = event => Plotly.restyle("view", { visible: event.target.checked }, cameraTraces);
  find("show-links").onchange = event => Plotly.restyle("view", { visible: event.target.checked }, [linkTrace]);
  const drawn = places.length / 3;
  find("model-note").textContent = drawn < data.model.total ? `${drawn.toLocaleString("en")} of ${data.model.total.toLocaleString("en")} points are drawn.` : "";
  find("model-note").after(...data.lines.map(line => make("p", line, "note")));
}

// From behind the cameras, and above them; from farther away if the model is high.
function firstView(posed, height) {
  const [low, high] = data.model.box, middle = low.map((value, k) => (value + high[k]) / 2);
  const mean = k => posed.reduce((sum, photo) => sum + photo.centre[k], 0) / Math.max(posed.length, 1);
  const away = [0, 1].map(k => mean(k) - middle[k]), length = Math.hypot(...away) || 1;
  const from = length > 1e-6 ? away.map(value => value / length) : [0, -1];
  const reach = Math.max(1.5, 2 * height);
  return { up: { x: 0, y: 0, z: 1 }, eye: { x: reach * from[0], y: reach * from[1], z: 0.4 * reach } };
}

// The pairs

const pairs = (() => {
  const kinds = { first: Uint32Array, second: Uint32Array, matches: Uint32Array, inliers: Int32Array, agreeing: Float32Array };
  const columns = Object.fromEntries(Object.entries(kinds).map(([name, kind]) => [name, unpacked(data.pairs[name], kind)]));
  return Array.from(columns.first, (first, row) => ({
    row, first, second: columns.second[row], matches: columns.matches[row],
    inliers: columns.inliers[row], agreeing: columns.agreeing[row],
  }));
})();
const verifiedYet = pairs.some(pair => pair.inliers >= 0);
const strength = pair => pair.inliers >= 0 ? pair.inliers : pair.matches;
const against = pair => pair.agreeing < 0.5;
const pairColour = pair => pair.inliers < 0 ? VERIFIED[2] : pair.inliers === 0 ? VERIFIED[0] : against(pair) ? DOUBT : VERIFIED[1];

const FIGURES = {
  matches: pair => Math.log10(1 + pair.matches),
  inliers: pair => pair.inliers >= 0 ? Math.log10(1 + pair.inliers) : null,
  share: pair => pair.inliers >= 0 ? pair.inliers / pair.matches : null,
};

function showMatrix(kind) {
  const count = photos.length, z = Array.from({ length: count }, () => new Array(count).fill(null)), which = new Map();
  for (const pair of pairs)
    for (const [a, b] of [[pair.first, pair.second], [pair.second, pair.first]]) {
      z[a][b] = FIGURES[kind](pair);
      which.set(a * count + b, pair);
    }
  const ticks = kind === "share" ? {} : { tickvals: [0, 1, 2, 3, 4], ticktext: ["0", "10", "100", "1,000", "10,000"] };
  const named = { showticklabels: count <= 40, tickvals: photos.map((_, k) => k), ticktext: photos.map(photo => plotText(shortened(photo.name))), automargin: true, zeroline: false, showgrid: false };
  const trace = { type: "heatmap", z, colorscale: SCALE.map((rgb, k) => [k / (SCALE.length - 1), `rgb(${rgb})`]), colorbar: { thickness: 12, ...ticks }, zmin: 0, zmax: kind === "share" ? 1 : undefined,
    hoverinfo: "none", xgap: count <= 60 ? 1 : 0, ygap: count <= 60 ? 1 : 0 };
  const node = find("matrix");
  Plotly.react(node, [trace], layout({ title: { text: "pairs of photos" }, xaxis: { ...named, tickangle: -60 }, yaxis: { ...named, autorange: "reversed", scaleanchor: "x" } }), PLAIN);
  node.removeAllListeners("plotly_click");
  node.on("plotly_click", event => { const pair = which.get(event.points[0].y * count + event.points[0].x); if (pair) showPair(pair); });
}
const shortened = name => name.length > 18 ? "…" + name.slice(-17) : name;

function showGraph() {
  const at = photos.map((_, k) => [Math.sin(2 * Math.PI * k / photos.length), Math.cos(2 * Math.PI * k / photos.length)]);
  const groups = new Map();
  for (const pair of [...pairs].sort((a, b) => strength(b) - strength(a)).slice(0, MOST_LINKS)) {
    const colour = pairColour(pair);
    if (!groups.has(colour)) groups.set(colour, [[], []]);
    const [x, y] = groups.get(colour);
    x.push(at[pair.first][0], at[pair.second][0], null);
    y.push(at[pair.first][1], at[pair.second][1], null);
  }
  const names = { [VERIFIED[0]]: "not verified", [VERIFIED[1]]: "verified", [VERIFIED[2]]: "not verified yet", [DOUBT]: "against the model" };
  const traces = [...groups].map(([color, [x, y]]) => ({ type: "scatter", mode: "lines", x, y, name: names[color], hoverinfo: "skip", opacity: pairs.length > 300 ? 0.35 : 0.8, line: { color, width: 1 } }));
  traces.push({ type: "scatter", mode: photos.length <= 40 ? "markers+text" : "markers", x: at.map(p => p[0]), y: at.map(p => p[1]), text: photos.map(photo => plotText(shortened(photo.name))), textposition: "top center", textfont: { size: 10 },
    hovertext: photos.map(photo => plotText(photo.name)), hoverinfo: "text", showlegend: false, marker: { size: 8, color: photos.map(photo => !data.model || photo.posed ? INK : BAD) } });
  const bare = { visible: false, range: [-1.25, 1.25] };
  const node = find("graph");
  Plotly.newPlot(node, traces, layout({ title: { text: "match graph" }, xaxis: bare, yaxis: { ...bare, scaleanchor: "x" }, legend: { orientation: "h", y: 0 }, margin: { l: 10, r: 10, t: 30, b: 10 }, hovermode: "closest" }), PLAIN);
  node.on("plotly_click", event => showPhoto(event.points[0].pointIndex));
}

const PAIR_WIDTH = 1000;
async function showPair(pair) {
  const [photo0, photo1] = [photos[pair.first], photos[pair.second]], panel = find("chosen-pair");
  const images = await Promise.all([picture(pair.first), picture(pair.second)]);
  const ratios = [photo0, photo1].map(photo => photo.size[0] / photo.size[1]), height = Math.round((PAIR_WIDTH - 6) / (ratios[0] + ratios[1]));
  const canvas = make("canvas", "", "photo"), pen = canvas.getContext("2d");
  [canvas.width, canvas.height] = [PAIR_WIDTH, height];
  const widths = ratios.map(ratio => height * ratio), left1 = widths[0] + 6;
  paint(pen, images[0], photo0, 0, 0, widths[0], height);
  paint(pen, images[1], photo1, left1, 0, widths[1], height);
  const drawn = data.pairs.drawn[pair.row];
  if (drawn) drawLines(pen, unpacked(drawn[0], Uint16Array), unpacked(drawn[1], Uint8Array), widths, left1, height);
  const count = drawn ? unpacked(drawn[1], Uint8Array).length : 0;
  const figures = [`${pair.matches} matches`, pair.inliers < 0 ? "not verified yet" : `${pair.inliers} verified`];
  if (!Number.isNaN(pair.agreeing)) figures.push(`${Math.round(100 * pair.agreeing)}% of them agree with the model`);
  figures.push(count ? (count < pair.matches ? `${count} are drawn` : "all are drawn") : "none are stored in this page");
  panel.replaceChildren(make("p", `${photo0.name}  –  ${photo1.name}`, "name"), canvas, make("p", figures.join("; "), "note"));
  panel.dataset.row = pair.row;
}

function drawLines(pen, ends, verified, widths, left1, height) {
  for (const wanted of [2, 0, 1])
    verified.forEach((value, k) => {
      if (value !== wanted) return;
      const [x0, y0, x1, y1] = ends.slice(4 * k, 4 * k + 4);
      pen.strokeStyle = pen.fillStyle = VERIFIED[value];
      pen.globalAlpha = 0.55;
      pen.beginPath();
      pen.moveTo(x0 / FULL * widths[0], y0 / FULL * height);
      pen.lineTo(left1 + x1 / FULL * widths[1], y1 / FULL * height);
      pen.stroke();
      pen.globalAlpha = 1;
      for (const [x, y] of [[x0 / FULL * widths[0], y0], [left1 + x1 / FULL * widths[1], y1]]) {
        pen.beginPath();
        pen.arc(x, y / FULL * height, 2, 0, 7);
        pen.fill();
      }
    });
}

// Tables

function table(node, columns, rows, chosen) {
  const head = make("tr");
  let sorted = -1, falling = false;
  const body = make("tbody");
  const write = () => body.replaceChildren(...rows.map(row => {
    const line = make("tr");
    if (row.number != null) line.dataset.number = row.number;
    for (const column of columns) {
      const cell = column.cell ? column.cell(row) : make("td", column.show ? column.show(row) : shown(column.value(row)), column.text ? "text" : "");
      line.append(cell);
    }
    line.onclick = () => chosen(row);
    return line;
  }));
  columns.forEach((column, k) => {
    const cell = make("th", column.title, column.text ? "text" : "");
    cell.onclick = () => {
      falling = sorted === k ? !falling : !column.text;
      sorted = k;
      const empty = value => value == null || Number.isNaN(value);
      rows = [...rows].sort((a, b) => {
        const [x, y] = [column.value(a), column.value(b)];
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        return (x < y ? -1 : x > y ? 1 : 0) * (falling ? -1 : 1);
      });
      write();
    };
    head.append(cell);
  });
  const top = make("thead");
  top.append(head);
  node.replaceChildren(top, body);
  write();
}

function small(row) {
  const cell = make("td", "", "text"), photo = photos[row.number];
  if (!photo.image) return cell.append(make("span", "no photo", "none")), cell;
  const image = make("img");
  if (photos.length > MANY) image.loading = "lazy";  // the others are there when the page is printed
  image.alt = "";
  image.src = "data:image/jpeg;base64," + photo.image;
  return cell.append(image), cell;
}

function showPhotos() {
  const rows = photos.map((photo, number) => ({ ...photo, number }));
  const status = row => !data.model ? "" : row.posed ? "registered" : `not registered${row.reason ? ": " + row.reason : ""}`;
  const columns = [
    { title: "", value: row => row.number, cell: small },
    { title: "photo", text: true, value: row => row.name },
    ...(data.model ? [{ title: "in the model", text: true, value: status, cell: row => make("td", status(row), "text " + (row.posed ? "good" : "bad")) }] : []),
    { title: "size", value: row => row.pixels[0] * row.pixels[1], show: row => row.pixels.join("x") },
    { title: "keypoints", value: row => row.keypoints },
    ...(data.model ? [
      { title: "points", value: row => row.points },
      { title: "error, px", value: row => row.error, show: row => fixed(row.error, 2) },
      ...(photos.some(away) ? [{ title: "from GPS, m", value: away, show: row => fixed(away(row), 2) }] : []),
      { title: "focal length, px", value: row => row.focal, show: row => fixed(row.focal, 0) },
    ] : []),
    { title: "before", value: row => row.prior, show: row => row.prior == null ? "" : fixed(row.prior, 0) + (row.known ? "" : " (guess)") },
    { title: "EXIF", value: row => row.exif, show: row => fixed(row.exif, 0) },
  ];
  table(find("photo-table"), columns, rows, row => { showPhoto(row.number); find("model").scrollIntoView(); });
}

const ORDERS = {
  weak: (a, b) => strength(a) - strength(b) || a.matches - b.matches,
  strong: (a, b) => strength(b) - strength(a),
  doubtful: (a, b) => against(b) - against(a) || (Number.isNaN(a.agreeing) ? 2 : a.agreeing) - (Number.isNaN(b.agreeing) ? 2 : b.agreeing),
};
function showPairs(order) {
  const rows = [...pairs].sort(ORDERS[order]).slice(0, MOST_ROWS);
  const percent = value => value == null || Number.isNaN(value) ? "" : `${Math.round(100 * value)}%`;
  table(find("pair-table"), [
    { title: "photo", text: true, value: pair => photos[pair.first].name },
    { title: "photo", text: true, value: pair => photos[pair.second].name },
    { title: "matches", value: pair => pair.matches },
    { title: "verified", value: pair => pair.inliers, show: pair => pair.inliers < 0 ? "" : String(pair.inliers) },
    { title: "agree", value: pair => pair.agreeing, show: pair => percent(pair.agreeing) },
  ], rows, showPair);
}

const MISLED = "Repeated structure, such as rows of like windows, misled the matcher on these pairs: their matches fit the two photos, but end elsewhere when followed through other photos. ";
function showRepeats() {
  find("repeats").hidden = !data.repeats.length;
  if (!data.repeats.length) return;
  const end = data.repeats[0].left_out ? "The model was mapped without them." : "The model was mapped with them; --repeats drop maps without them.";
  find("repeats-note").textContent = MISLED + end;
  const between = row => pairs.find(pair => photos[pair.first].name === row.name0 && photos[pair.second].name === row.name1);
  table(find("repeats-table"), [
    { title: "photo", text: true, value: row => row.name0 },
    { title: "photo", text: true, value: row => row.name1 },
    { title: "reason", text: true, value: row => row.reason },
  ], data.repeats, row => { const pair = between(row); if (pair) { showPair(pair); find("pairs").scrollIntoView(); } });
}

// The rest

function showHistograms() {
  const nodes = data.histograms.map(() => make("div", "", "chart"));
  find("histograms").append(...nodes);  // all, before the first is drawn: their widths depend on their number
  data.histograms.forEach((figure, number) => {
    const node = nodes[number], edges = figure.edges;
    const x = figure.counts.map((_, k) => (edges[k] + edges[k + 1]) / 2);
    const trace = { type: "bar", x, y: figure.counts, width: edges.slice(1).map((edge, k) => edge - edges[k]), marker: { color: ACCENT } };
    const middle = figure.median == null ? "" : `, median ${Number(figure.median.toPrecision(3))}`;
    Plotly.newPlot(node, [trace], layout({ title: { text: figure.title + middle }, xaxis: { title: { text: figure.across } }, yaxis: { title: { text: figure.up } }, bargap: 0.05 }), PLAIN);
  });
  find("figures").hidden = !data.histograms.length;
}

const BY_NAME = { title: { text: "photos by name" }, showticklabels: false };
const away = photo => photo.place && Math.hypot(...photo.place);  // without an altitude, on the ground

function showPlaces() {
  const placed = photos.filter(photo => photo.place);
  find("places").hidden = !placed.length;
  if (!placed.length) return;
  const distances = placed.map(away).sort((a, b) => a - b), middle = distances[Math.floor(distances.length / 2)];
  const told = `Median distance ${middle.toFixed(2)} m, largest ${distances[distances.length - 1].toFixed(2)} m, over ${placed.length} photos.`;
  if (!data.model.upright) {
    const bars = { type: "bar", x: placed.map((_, k) => k), y: placed.map(away), text: placed.map(photo => plotText(photo.name)), textposition: "none", hovertemplate: "%{text}: %{y:.1f} m<extra></extra>", marker: { color: ACCENT } };
    find("place-up").hidden = true;
    Plotly.newPlot("place-map", [bars], layout({ title: { text: "distance, m" }, xaxis: BY_NAME }), PLAIN);
    find("place-note").textContent = `${told} The positions lie on a line and leave the turn about it open: what is east, north and up is not known.`;
    return;
  }
  const text = placed.map(photo => plotText(photo.name));
  const flat = { type: "scatter", mode: "markers", x: placed.map(p => p.place[0]), y: placed.map(p => p.place[1]), text, hovertemplate: "%{text}: %{x:.1f}, %{y:.1f} m<extra></extra>", marker: { color: ACCENT } };
  Plotly.newPlot("place-map", [flat], layout({ title: { text: "east and north, m" }, yaxis: { scaleanchor: "x" } }), PLAIN);
  const up = { type: "bar", x: placed.map((_, k) => k), y: placed.map(p => p.place[2]), text, textposition: "none", hovertemplate: "%{text}: %{y:.1f} m<extra></extra>", marker: { color: ACCENT } };
  Plotly.newPlot("place-up", [up], layout({ title: { text: "up, m" }, xaxis: BY_NAME }), PLAIN);
  find("place-note").textContent = told;
}

function showControl() {
  find("control").hidden = !data.control.length;
  const metres = (title, name) => ({ title, value: row => row[name], show: row => fixed(row[name], 3) });
  table(find("control-table"), [
    { title: "point", text: true, value: row => row.name },
    { title: "use", text: true, value: row => row.checks ? "check" : "control" },
    { title: "photos", value: row => row.marks },
    metres("east, m", "east"), metres("north, m", "north"), metres("up, m", "up"),
    { title: "marks, px", value: row => row.pixels, show: row => fixed(row.pixels, 2) },
  ], data.control, () => {});
}

function showHead() {
  document.title = find("title").textContent = data.title;
  for (const [label, value] of data.facts) {
    const fact = make("div");
    fact.append(make("dt", label), make("dd", value));
    find("facts").append(fact);
  }
  const list = find("warnings").querySelector("ul");
  list.append(...data.warnings.map(text => make("li", text)));
  if (!data.warnings.length) find("warnings").append(make("div", "No warnings.", "fine"));
  const text = find("options").querySelector("pre");
  text.textContent = data.options;
  text.hidden = !data.options;
  const stages = data.runs.map((run, k) => run.map(stage => ({ ...stage, run: k + 1 }))).reverse().flat();
  if (stages.length) {
    const node = make("table");
    find("stages").append(node);
    table(node, [
      { title: "run", value: row => row.run },
      { title: "stage", text: true, value: row => row.stage },
      { title: "seconds", value: row => row.seconds, show: row => fixed(row.seconds, 1) },
      { title: "memory at most, MB", value: row => row.memory, show: row => fixed(row.memory, 0) },
    ], stages, () => {});
  }
  find("options").hidden = !data.options && !stages.length;
}

function start() {
  showHead();
  showModel();
  const first = photos.findIndex(photo => photo.posed);
  if (photos.length) showPhoto(Math.max(first, 0));
  find("pairs").hidden = !pairs.length;
  if (pairs.length) {
    if (!verifiedYet) find("matrix-of").value = "matches";
    showMatrix(find("matrix-of").value);
    showGraph();
    showPairs("weak");
    showPair([...pairs].sort(ORDERS.strong)[0]);
    find("matrix-of").onchange = event => showMatrix(event.target.value);
    find("pair-order").onchange = event => showPairs(event.target.value);
  }
  showRepeats();
  showPhotos();
  showHistograms();
  showPlaces();
  showControl();
  for (const link of document.querySelectorAll("nav a"))
    link.hidden = find(link.hash.slice(1)).hidden;
}
start();
