/* Shows the map of structures: chemiscope with the data of map.js. Nothing is loaded from anywhere else. */
"use strict";
(function () {
    const note = document.getElementById("coevo-map-note");
    const say = (text) => { note.textContent = text; };
    if (typeof Chemiscope === "undefined" || typeof coevoMap === "undefined") {
        say("The map cannot be shown: chemiscope.min.js or map.js is missing beside this page.");
        return;
    }
    const warnings = new Chemiscope.Warnings();
    // ids and formulas are for reading: that they make no legend is no news
    warnings.addHandler((message) => { if (!message.includes("categories")) { say(message); } });
    const places = {
        meta: "chemiscope-meta",
        map: "chemiscope-map",
        info: "chemiscope-info",
        structure: "chemiscope-structure",
    };
    Chemiscope.DefaultVisualizer.load(places, coevoMap, warnings)
        .then((visualizer) => {
            if (window.coevoLink) { window.coevoLink(visualizer, coevoMap.properties.id.values); }
            document.getElementById("coevo-map").dataset.shown = "yes";
        })
        .catch((error) => say("The map cannot be shown: " + error.message));
})();
