// The page's own script, in the head: it runs before gradio starts.
//
// language: the page's language, "en" or "zh"; gradio reads navigator.language once, when it starts, so a
//   choice made on the page is remembered and put there before.
// store: this browser's conversations, in IndexedDB. Nothing of them stays on the server.
// pictures: this browser's pictures, likewise.
(() => {
  const KEY = "aigc-language";
  const memory = (storage) => ({
    get: (key) => { try { return storage().getItem(key); } catch { return null; } },
    set: (key, value) => { try { storage().setItem(key, value); } catch { /* a browser that refuses storage still works */ } },
    remove: (key) => { try { storage().removeItem(key); } catch { /* likewise */ } },
  });
  const browser = memory(() => localStorage);
  const tab = memory(() => sessionStorage);

  const asked = new URLSearchParams(location.search).get("lang") || browser.get(KEY) || navigator.language || "en";
  const language = asked.toLowerCase().startsWith("zh") ? "zh" : "en";
  const tag = language === "zh" ? "zh-CN" : "en"; // gradio takes a bare "zh" for English
  for (const [name, value] of [["language", tag], ["languages", [tag]]]) {
    Object.defineProperty(navigator, name, { get: () => value, configurable: true });
  }
  document.documentElement.lang = tag;
  document.documentElement.dataset.language = language;

  function setLanguage(to) {
    if (to === language) return;
    browser.set(KEY, to);
    const url = new URL(location.href);
    url.searchParams.delete("lang");
    location.replace(url);
    if (url.href === location.href) location.reload();
  }

  // gradio tells of a full queue in an English sentence of its own; an answer of any other status it quotes.
  const FULL = {
    en: "Too many people are waiting here at the moment. Nothing is lost: please try again in a little while.",
    zh: "现在排队的人太多了。你的内容没有丢失，请稍后再试。",
  };
  const fetched = window.fetch;
  window.fetch = async (...request) => {
    const response = await fetched(...request);
    const full = response.status === 503 && new URL(response.url).pathname.endsWith("/queue/join");
    return full ? Response.json({ detail: FULL[language] }, { status: 429 }) : response;
  };

  // So it does of a file that is too large to send, in a toast.
  const TOO_LARGE = /^File\(s\) exceed the maximum allowed size of ([\d.]+) Mb: "(.*)"$/s;
  if (language === "zh") {
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const node of addedNodes) {
        for (const said of node.querySelectorAll?.("[data-testid=toast-text]") ?? []) {
          const [, size, name] = said.textContent.trim().match(TOO_LARGE) ?? [];
          if (size) said.textContent = `文件“${name}”太大：最多 ${size} MB。`;
        }
      }
    }).observe(document.documentElement, { childList: true, subtree: true });
  }

  // ---- what the widgets are made of ------------------------------------------------------------------------------

  function make(tag, name, ...inside) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    node.append(...inside);
    return node;
  }

  function draw(tag, attributes) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    return node;
  }

  // ---- two pictures in one box, the left one cut off at a line -----------------------------------------------------

  // label: of the slider; told: (percent of the left one) -> what it says. Returns { box, slider }.
  function wipe(left, right, label, told) {
    const box = make("div", "aigc-wipe", right, left, make("i"));
    const slider = Object.assign(make("input"), { type: "range", min: 0, max: 100, step: 1 });
    slider.setAttribute("aria-label", label);
    const to = (percent) => {
      slider.value = percent;
      box.style.setProperty("--wipe-at", `${slider.value}%`);
      slider.setAttribute("aria-valuetext", told(+slider.value));
    };
    const follow = (event) => {
      const place = box.getBoundingClientRect();
      to((100 * (event.clientX - place.left)) / place.width);
    };
    slider.addEventListener("input", () => to(slider.value));
    box.addEventListener("pointerdown", (event) => { box.setPointerCapture(event.pointerId); follow(event); });
    box.addEventListener("pointermove", (event) => { if (box.hasPointerCapture(event.pointerId)) follow(event); });
    for (const image of [left, right]) image.draggable = false;
    to(50);
    return { box, slider };
  }

  // ---- the database --------------------------------------------------------------------------------------------

  const VERSION = 2;
  let database = null; // a promise; null where it has yet to be opened, or has to be opened again

  function open() {
    database ??= new Promise((resolve, reject) => {
      const forget = () => { database = null; };
      const request = indexedDB.open("aigc-demo", VERSION);
      request.onupgradeneeded = ({ oldVersion }) => {
        const make = (name, keyPath) => request.result.createObjectStore(name, { keyPath });
        if (oldVersion < 1) { make("conversations", "id"); make("answers", ["conversation", "node"]); }
        if (oldVersion < 2) { make("pictures", "id"); make("thumbs", "id"); }
      };
      request.onsuccess = () => {
        const db = request.result;
        db.onclose = forget; // the browser took it away
        db.onversionchange = () => { db.close(); forget(); }; // a newer page, in another tab, waits for this
        resolve(db);
        database = Promise.resolve(db);
      };
      request.onerror = () => { forget(); reject(request.error); };
      // a tab with an older page holds it: everything fails at once, and works when that tab is closed
      request.onblocked = () => reject(new DOMException("an older page holds the database", "InvalidStateError"));
    });
    return database;
  }

  async function transact(stores, mode, work) {
    const db = await open();
    return new Promise((resolve, reject) => {
      const transaction = db.transaction(stores, mode);
      let result;
      transaction.oncomplete = () => resolve(result);
      // the transaction has no error yet when that of a request passes by
      transaction.onerror = transaction.onabort = ({ target }) => reject(target.error || transaction.error);
      try {
        work(...stores.map((name) => transaction.objectStore(name)), (value) => { result = value; });
      } catch (error) { reject(error); transaction.abort(); } // all of it or nothing
    });
  }

  const freshId = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(36)).join("");
  const plain = (value) => JSON.parse(JSON.stringify(value)); // gradio's values are proxies

  // ---- conversations -------------------------------------------------------------------------------------------

  const DRAFT = "aigc-draft", CURRENT = "aigc-conversation";
  let current = null; // {id, revision}: what this tab shows, and the revision that it last read or wrote

  const answersOf = (id) => IDBKeyRange.bound([id], [id, []]);

  function title(conversation) {
    const first = conversation.nodes.find((node) => node.role === "user");
    return (first ? first.content : "").replace(/\s+/g, " ").slice(0, 80);
  }

  const store = {
    // The conversation of this tab, or the one asked for; null where there is none. Never fails: a browser
    // that refuses storage only forgets.
    async load(id) {
      id = id || tab.get(CURRENT);
      current = { id: freshId(), revision: 0 };
      if (!id) return null;
      try {
        const found = await transact(["conversations"], "readonly", (conversations, done) => {
          conversations.get(id).onsuccess = (event) => done(event.target.result);
        });
        if (!found) return null;
        current = { id, revision: found.revision };
        tab.set(CURRENT, id);
        return found.conversation;
      } catch (error) { return store.trouble(error), null; }
    },

    // Keeps the conversation and what belongs to its newest answer. Where another tab has written the same
    // conversation since (a duplicated tab), this one goes on under an id of its own.
    async save(conversation, answer) {
      [conversation, answer] = plain([conversation, answer || null]);
      if (!conversation || !conversation.nodes || !conversation.nodes.length) return;
      current ??= { id: freshId(), revision: 0 };
      try {
        await transact(["conversations", "answers"], "readwrite", (conversations, answers) => {
          conversations.get(current.id).onsuccess = (event) => {
            const there = event.target.result;
            if (there && there.revision !== current.revision) {
              const from = current.id;
              current = { id: freshId(), revision: 0 };
              answers.getAll(answersOf(from)).onsuccess = (copies) => {
                for (const copy of copies.target.result) answers.put({ ...copy, conversation: current.id });
                write();
              };
            } else write();
          };
          function write() {
            current.revision += 1;
            conversations.put({
              id: current.id, revision: current.revision, title: title(conversation),
              updated: Date.now(), conversation,
            });
            if (answer && answer.node) answers.put({ conversation: current.id, ...answer });
          }
        });
        tab.set(CURRENT, current.id);
        keepDraft();
        store.changed();
      } catch (error) { store.trouble(error); }
    },

    // What belongs to one answer: {node, view, recipe, facts}; null where it was not kept.
    async answer(node) {
      if (!current || !node) return null;
      try {
        return await transact(["answers"], "readonly", (answers, done) => {
          answers.get([current.id, node]).onsuccess = (event) => done(event.target.result || null);
        });
      } catch (error) { return store.trouble(error), null; }
    },

    async list() {
      return transact(["conversations", "answers"], "readonly", (conversations, answers, done) => {
        conversations.getAll().onsuccess = (event) => {
          const rows = event.target.result.map(({ id, title, updated, conversation }) =>
            ({ id, title, updated, here: current && current.id === id, bytes: JSON.stringify(conversation).length }));
          answers.openCursor().onsuccess = ({ target: { result: cursor } }) => {
            if (!cursor) return done(rows.sort((a, b) => b.updated - a.updated));
            const row = rows.find((r) => r.id === cursor.value.conversation);
            if (row) row.bytes += JSON.stringify(cursor.value).length;
            cursor.continue();
          };
        };
      });
    },

    // Deletes one conversation, or all; whether the one that is shown was among them.
    async remove(id) {
      await transact(["conversations", "answers"], "readwrite", (conversations, answers) => {
        if (id) { conversations.delete(id); answers.delete(answersOf(id)); } else { conversations.clear(); answers.clear(); }
      });
      const shown = !id || current?.id === id;
      if (shown) store.begin();
      store.changed();
      return shown;
    },

    // The next save starts a conversation of its own.
    begin() {
      current = { id: freshId(), revision: 0 };
      tab.remove(CURRENT);
      keepDraft();
    },

    changed() { document.dispatchEvent(new CustomEvent("aigc-stored")); },
    trouble(error) {
      console.warn("aigc: the browser did not store this", error);
      document.dispatchEvent(new CustomEvent("aigc-storage-trouble", { detail: error && error.name }));
    },
  };

  // What was typed and not sent outlives a reload; so does what is typed while an answer is written.
  function keepDraft() {
    const box = document.querySelector("#text-prompt textarea");
    if (box) tab.set(DRAFT, box.value);
  }
  document.addEventListener("input", (event) => { if (event.target.closest?.("#text-prompt")) keepDraft(); });

  // ---- pictures ------------------------------------------------------------------------------------------------

  const THUMB = 256; // longest side, in pixels
  let newest = 0; // when the last picture was made: two of one batch still have an order
  const picturesChanged = () => document.dispatchEvent(new CustomEvent("aigc-pictures"));
  let otherTabs = null;
  try {
    otherTabs = new BroadcastChannel("aigc-pictures");
    otherTabs.onmessage = picturesChanged;
  } catch { /* a browser that refuses storage refuses this too */ }

  // Calls the work and tells of its success or failure, in this tab and the others. Null where it failed.
  async function changing(work) {
    try {
      const result = await work();
      otherTabs?.postMessage(null);
      picturesChanged();
      return result;
    } catch (error) {
      console.warn("aigc: the browser did not store this picture", error);
      document.dispatchEvent(new CustomEvent("aigc-pictures-trouble", { detail: error && error.name }));
      return null;
    }
  }

  // The file at a url, byte by byte, with its size in pixels and a small copy.
  async function pictureAt(url) {
    const answer = await fetched(url);
    if (!answer.ok) throw new Error(`${answer.status} from ${url}`);
    const blob = new Blob([await answer.blob()], { type: "image/png" });
    const bitmap = await createImageBitmap(blob);
    const { width, height } = bitmap, scale = Math.min(1, THUMB / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    return { blob, width, height, thumb: await new Promise((done) => canvas.toBlob(done, "image/webp", 0.9)) };
  }

  // A picture is a row {id, created, width, height, bytes, recipe, thumb} and, apart from it so that a list stays
  // fast, the PNG itself. `list` and `get` fail where the browser refuses; the others tell by an event,
  // "aigc-pictures-trouble" with the error's name, or "aigc-pictures" when all went well.
  const pictures = {
    // Keeps a picture: {url, recipe}, the url of its PNG. Returns the row.
    add: ({ url, recipe }) => changing(async () => {
      const { blob, ...seen } = await pictureAt(url).catch((error) => {
        throw new DOMException(String(error), "NetworkError");
      });
      newest = Math.max(Date.now(), newest + 1);
      const row = { id: freshId(), created: newest, bytes: blob.size, recipe: plain(recipe || {}), ...seen };
      await transact(["pictures", "thumbs"], "readwrite", (files, thumbs) => {
        files.put({ id: row.id, blob });
        thumbs.put(row);
      });
      return row;
    }),

    // All rows, the newest first.
    async list() {
      const rows = await transact(["thumbs"], "readonly", (thumbs, done) => {
        thumbs.getAll().onsuccess = (event) => done(event.target.result);
      });
      return rows.sort((a, b) => b.created - a.created);
    },

    // The row with its PNG as `blob`; null where there is none.
    async get(id) {
      const found = {};
      await transact(["pictures", "thumbs"], "readonly", (files, thumbs) => {
        for (const store of [files, thumbs]) {
          store.get(id).onsuccess = (event) => Object.assign(found, event.target.result);
        }
      });
      return found.blob ? found : null;
    },

    remove: (id) => changing(() => transact(["pictures", "thumbs"], "readwrite", (files, thumbs) => {
      files.delete(id);
      thumbs.delete(id);
    })),

    clear: () => changing(() => transact(["pictures", "thumbs"], "readwrite", (files, thumbs) => {
      files.clear();
      thumbs.clear();
    })),
  };

  // data: a text of JSON, or a Blob
  function download(name, data) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(data instanceof Blob ? data : new Blob([data], { type: "application/json" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  window.aigc = { ...window.aigc, language, setLanguage, store, pictures, make, draw, wipe, download, draft: () => tab.get(DRAFT) || "" };
})();
