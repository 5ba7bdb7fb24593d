//! The graph of a network: a node per operation. Weights and outputs of convolutions and norms have the names of the
//! network's weights.

use pointshard::trainer_api::{Activation, Norm};
use tch::{TchError, Tensor};

use super::message::{Attribute, DataType, Graph, Node, TensorProto, ValueInfo};
use crate::model::{EPSILON, Model, Operations, follow, groups};

/// Name of the input.
const IMAGE: &str = "image";
/// Name of the output.
const LOGITS: &str = "logits";
/// The slope of PyTorch's leaky ReLU below 0.
const LEAKY_RELU_SLOPE: f64 = 0.01;

/// The graph of `model`, which is on the CPU.
pub(super) fn graph(model: &Model) -> Result<Graph, TchError> {
    let config = model.config();
    let mut builder = GraphBuilder {
        model,
        nodes: Vec::new(),
        initializers: Vec::new(),
    };
    let head = follow(config, &mut builder, IMAGE.to_owned())?;
    builder.node("Identity", LOGITS, &[&head], vec![]);
    Ok(Graph {
        nodes: builder.nodes,
        name: "UNet3D".into(),
        initializers: builder.initializers,
        inputs: vec![ValueInfo::windows(IMAGE, config.in_channels)],
        outputs: vec![ValueInfo::windows(LOGITS, config.out_channels)],
    })
}

struct GraphBuilder<'m> {
    model: &'m Model,
    nodes: Vec<Node>,
    initializers: Vec<TensorProto>,
}

impl GraphBuilder<'_> {
    /// Adds a node. Returns the name of its output, which is that of the node.
    fn node(
        &mut self,
        operator: &str,
        name: &str,
        inputs: &[&str],
        attributes: Vec<Attribute>,
    ) -> String {
        self.nodes.push(Node {
            inputs: inputs.iter().map(|name| (*name).to_owned()).collect(),
            outputs: vec![name.to_owned()],
            name: name.to_owned(),
            operator: operator.to_owned(),
            attributes,
        });
        name.to_owned()
    }

    /// Adds a node without weights, whose name is a number.
    fn numbered(&mut self, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        let name = format!("{operator}_{}", self.nodes.len());
        self.node(operator, &name, inputs, attributes)
    }

    /// Adds a weight of the network and returns its name.
    fn weight(&mut self, name: &str, part: &str) -> Result<String, TchError> {
        let weight = self.model.weight(name, part)?;
        self.float32(format!("{name}.{part}"), weight)
    }

    /// Adds a tensor of float32 and returns its name.
    fn float32(&mut self, name: String, tensor: &Tensor) -> Result<String, TchError> {
        let tensor = tensor.f_contiguous()?;
        let mut bytes = vec![0; tensor.numel() * size_of::<f32>()];
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        Ok(self.initializer(name, DataType::Float32, tensor.size(), bytes))
    }

    fn initializer(
        &mut self,
        name: String,
        data_type: DataType,
        shape: Vec<i64>,
        bytes: Vec<u8>,
    ) -> String {
        self.initializers.push(TensorProto {
            shape,
            data_type: data_type as i32,
            name: name.clone(),
            bytes,
        });
        name
    }

    /// Names of `x` and of the weight and the bias of a convolution.
    fn convolution_inputs(&mut self, x: &str, name: &str) -> Result<Vec<String>, TchError> {
        let mut inputs = vec![x.to_owned(), self.weight(name, "weight")?];
        if self.model.weight(name, "bias").is_ok() {
            inputs.push(self.weight(name, "bias")?);
        }
        Ok(inputs)
    }

    /// Group norm as instance norm of groups, because there is no operator for it before opset 18.
    fn group_norm(&mut self, x: &str, name: &str) -> Result<String, TchError> {
        let scale = self.model.weight(name, "weight")?;
        let maps = scale.numel() as i64;
        let groups = groups(maps);
        // 0 keeps the size of the batch, -1 is the rest.
        let grouped = [0, groups, -1].map(i64::to_le_bytes).concat();
        let shape = format!("{name}.groups");
        let shape = self.initializer(shape, DataType::Int64, vec![3], grouped);
        let float = (scale.kind(), scale.device());
        let ones = Tensor::f_ones([groups], float)?;
        let ones = self.float32(format!("{name}.ones"), &ones)?;
        let zeros = Tensor::f_zeros([groups], float)?;
        let zeros = self.float32(format!("{name}.zeros"), &zeros)?;
        let epsilon = vec![Attribute::from_float("epsilon", EPSILON)];
        let grouped = self.numbered("Reshape", &[x, &shape], vec![]);
        let normed = self.numbered("InstanceNormalization", &[&grouped, &ones, &zeros], epsilon);
        let shape = self.numbered("Shape", &[x], vec![]);
        let normed = self.numbered("Reshape", &[&normed, &shape], vec![]);
        // For all voxels of a feature map.
        let mut of_maps = |part: &str| {
            let weight = self.model.weight(name, part)?.f_view([maps, 1, 1, 1])?;
            self.float32(format!("{name}.{part}"), &weight)
        };
        let (scale, bias) = (of_maps("weight")?, of_maps("bias")?);
        let scaled = self.numbered("Mul", &[&normed, &scale], vec![]);
        Ok(self.node("Add", name, &[&scaled, &bias], vec![]))
    }
}

impl Operations for GraphBuilder<'_> {
    /// The name of the feature maps.
    type Maps = String;
    type Error = TchError;

    fn convolve(
        &mut self,
        x: &String,
        name: &str,
        stride: [i64; 3],
        padding: [i64; 3],
    ) -> Result<String, TchError> {
        let inputs = self.convolution_inputs(x, name)?;
        // At the start of each axis, then at the end of each.
        let pads = [padding, padding].concat();
        let attributes = vec![
            Attribute::from_ints("strides", &stride),
            Attribute::from_ints("pads", &pads),
        ];
        let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
        Ok(self.node("Conv", name, &inputs, attributes))
    }

    fn upsample(&mut self, x: &String, name: &str, stride: [i64; 3]) -> Result<String, TchError> {
        let inputs = self.convolution_inputs(x, name)?;
        let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
        let attributes = vec![Attribute::from_ints("strides", &stride)];
        Ok(self.node("ConvTranspose", name, &inputs, attributes))
    }

    fn norm(&mut self, x: String, name: &str) -> Result<String, TchError> {
        let operator = match self.model.config().norm {
            Norm::None => return Ok(x),
            Norm::Group => return self.group_norm(&x, name),
            Norm::Instance => "InstanceNormalization",
            Norm::Batch => "BatchNormalization",
        };
        let mut inputs = vec![x, self.weight(name, "weight")?, self.weight(name, "bias")?];
        if self.model.config().norm == Norm::Batch {
            inputs.push(self.weight(name, "running_mean")?);
            inputs.push(self.weight(name, "running_var")?);
        }
        let inputs: Vec<_> = inputs.iter().map(String::as_str).collect();
        let epsilon = vec![Attribute::from_float("epsilon", EPSILON)];
        Ok(self.node(operator, name, &inputs, epsilon))
    }

    fn activate(&mut self, x: String) -> Result<String, TchError> {
        let (operator, attributes) = match self.model.config().activation {
            Activation::Relu => ("Relu", vec![]),
            Activation::LeakyRelu => (
                "LeakyRelu",
                vec![Attribute::from_float("alpha", LEAKY_RELU_SLOPE)],
            ),
            Activation::Elu => ("Elu", vec![]),
        };
        Ok(self.numbered(operator, &[&x], attributes))
    }

    fn add(&mut self, a: &String, b: &String) -> Result<String, TchError> {
        Ok(self.numbered("Add", &[a, b], vec![]))
    }

    fn concatenate(&mut self, a: &String, b: &String) -> Result<String, TchError> {
        Ok(self.numbered("Concat", &[a, b], vec![Attribute::from_int("axis", 1)]))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tch::Device;

    use super::*;

    #[test]
    fn a_graph_has_every_weight_and_defines_each_name_before_it_is_read() {
        for norm in ["instance", "group", "batch", "none"] {
            let config = serde_json::from_value(serde_json::json!({
                "feature_maps": [4, 6],
                "norm": norm,
                "skip": "concat",
                "residual": true,
            }));
            let model = Model::new(&config.unwrap(), 1, Device::Cpu).unwrap();
            let graph = graph(&model).unwrap();
            let mut defined = HashSet::from([IMAGE]);
            for initializer in &graph.initializers {
                assert!(defined.insert(&initializer.name), "{}", initializer.name);
            }
            for name in model.weights().keys() {
                assert!(defined.contains(name.as_str()), "{name}");
            }
            for node in &graph.nodes {
                for input in &node.inputs {
                    assert!(defined.contains(input.as_str()), "{input}");
                }
                assert!(defined.insert(&node.outputs[0]), "{}", node.name);
            }
            assert!(defined.contains(LOGITS));
        }
    }
}
