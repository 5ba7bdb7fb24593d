//! The property columns of the sample table.

use super::objects::SampleObjects;
use super::table::Plan;
use crate::config::{ArrayConfig, ObjectIdFrom, ObjectSearch, OneOrMore, Transform, nearest};
use crate::points::PropertySpec;

/// For each property that every point layer has with the same type: its position in each layer's list. Warns about the
/// others.
pub(super) fn common_properties(
    layers: &[Vec<PropertySpec>],
    warnings: &mut Vec<String>,
) -> Vec<Vec<usize>> {
    let mut columns = Vec::new();
    let Some(first) = layers.first() else {
        return columns;
    };
    for property in first {
        let is_same = |p: &PropertySpec| p.id == property.id && p.kind == property.kind;
        let positions: Option<Vec<usize>> = layers
            .iter()
            .map(|specs| specs.iter().position(is_same))
            .collect();
        match positions {
            Some(positions) => columns.push(positions),
            None => warnings.push(format!(
                "the annotation property `{}` gets no column: not every point layer has it with the same type",
                property.id
            )),
        }
    }
    columns
}

/// Sets the objects of the arrays that show the objects of several properties.
pub(super) fn set_objects(plan: &mut Plan) {
    for (array, config) in plan.config.arrays.values().enumerate() {
        let Transform::ObjectAt(at) = &config.transform else {
            continue;
        };
        let ObjectSearch::WithId(ObjectIdFrom::Property(OneOrMore::List(names))) = at.search()
        else {
            continue;
        };
        let columns = plan.properties.iter().enumerate();
        let columns: Vec<_> = columns.filter(|(_, p)| names.contains(&p.id)).collect();
        for split in &mut plan.splits {
            let mut objects = SampleObjects::several(split.samples.len(), 0);
            for i in 0..split.samples.len() {
                let ids = columns
                    .iter()
                    .map(|(column, spec)| split.id_in_property(*column, spec, i));
                objects.push(ids);
            }
            split.objects[array] = objects;
        }
    }
}

/// Why the property that has the ids of the array's objects cannot have them. `columns` are the properties that have a column.
pub(super) fn object_id_problem(array: &ArrayConfig, columns: &[PropertySpec]) -> Option<String> {
    let Transform::ObjectAt(at) = &array.transform else {
        return None;
    };
    let ObjectSearch::WithId(ObjectIdFrom::Property(properties)) = at.search() else {
        return None;
    };
    let mut names = properties.names().iter();
    names.find_map(|name| id_problem(name, columns))
}

/// Why the property `name` cannot have the ids of objects.
fn id_problem(name: &str, columns: &[PropertySpec]) -> Option<String> {
    let found = match columns.iter().find(|p| p.id == name) {
        Some(property) if property.kind.is_whole_number() => return None,
        Some(property) => format!(
            "the property `{name}` has the type {}",
            property.kind.name()
        ),
        None => format!("no property `{name}` is in all point layers"),
    };
    let of_whole_numbers = columns.iter().filter(|p| p.kind.is_whole_number());
    let known: Vec<_> = of_whole_numbers.map(|p| p.id.as_str()).collect();
    let hint = nearest(name, known.iter().copied());
    let hint = hint.map_or(String::new(), |hint| format!("; did you mean `{hint}`?"));
    let known = match known.as_slice() {
        [] => "there is none".to_owned(),
        known => known.join(", "),
    };
    Some(format!(
        "{found}, expected a property of whole numbers: {known}{hint}"
    ))
}
